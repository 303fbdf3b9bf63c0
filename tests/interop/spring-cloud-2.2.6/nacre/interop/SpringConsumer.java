package nacre.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.client.loadbalancer.LoadBalanced;
import org.springframework.context.annotation.Bean;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;

/** An application that finds and calls the providers, by name. */
@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
public class SpringConsumer {
    public static void main(String[] arguments) {
        SpringRun.start(SpringConsumer.class, arguments);
    }

    /** Chooses a provider by Ribbon for each call. */
    @Bean
    @LoadBalanced
    public RestTemplate restTemplate() {
        return new RestTemplate();
    }

    /** What the story asks. */
    @RestController
    public static class Questions {
        private final RestTemplate rest;
        private final DiscoveryClient discovery;

        /** With what Spring makes. */
        public Questions(RestTemplate rest, DiscoveryClient discovery) {
            this.rest = rest;
            this.discovery = discovery;
        }

        /** The name of the provider that was called. */
        @GetMapping("/call")
        public String call() {
            return rest.getForObject("http://greeter/name", String.class);
        }

        /** Addresses of the providers, sorted. */
        @GetMapping("/providers")
        public String providers() {
            TreeSet<String> found = new TreeSet<>();
            for (ServiceInstance instance : discovery.getInstances("greeter")) {
                found.add(instance.getHost() + ":" + instance.getPort());
            }
            return String.join(",", found);
        }

        /** Metadata of the provider of this name, as the application sees them. */
        @GetMapping("/metadata")
        public List<String> metadata() {
            List<String> found = new ArrayList<>();
            for (ServiceInstance instance : discovery.getInstances("greeter")) {
                found.add(instance.getMetadata().toString());
            }
            return found;
        }

        /** The services that there are, sorted. */
        @GetMapping("/services")
        public String services() {
            return String.join(",", new TreeSet<>(discovery.getServices()));
        }
    }
}
