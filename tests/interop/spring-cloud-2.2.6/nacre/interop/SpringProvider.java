package nacre.interop;

import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** A service with one endpoint. */
@SpringBootConfiguration
@EnableAutoConfiguration
@RestController
public class SpringProvider {
    @Value("${greeter.name}")
    private String name;

    public static void main(String[] arguments) {
        SpringRun.start(SpringProvider.class, arguments);
    }

    /** Which of the providers it is. */
    @GetMapping("/name")
    public String name() {
        return name;
    }
}
