package nacre.interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.RegistryConfig;

/** What providers and consumers have in common. The registry is the configuration and metadata centre too: the default. */
final class DubboApplication {
    static final String VERSION = "1.0";

    private DubboApplication() {
    }

    static ApplicationConfig named(String name) {
        ApplicationConfig application = new ApplicationConfig(name);
        application.setQosEnable(false);
        return application;
    }

    static RegistryConfig registry(String address) {
        return new RegistryConfig(address);
    }

    /** Does what {@code doer} says for each line of standard input, and answers {@code done LINE} or what went wrong. */
    static void obey(Doer doer) throws IOException {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                doer.run(line);
                System.out.println("done " + line);
            } catch (Exception e) {
                System.out.println("failed " + line + ": " + e);
            }
            System.out.flush();
        }
        System.exit(0);
    }

    interface Doer {
        void run(String line) throws Exception;
    }
}
