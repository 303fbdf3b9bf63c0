package nacre.interop;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.web.servlet.context.ServletWebServerApplicationContext;

/** Starts an application and says on which port it serves. */
final class SpringRun {
    private SpringRun() {
    }

    static void start(Class<?> application, String... arguments) {
        ServletWebServerApplicationContext context =
                (ServletWebServerApplicationContext) SpringApplication.run(application, arguments);
        System.out.println("serving on " + context.getWebServer().getPort());
        System.out.flush();
    }
}
