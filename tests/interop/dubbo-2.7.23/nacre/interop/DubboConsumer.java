package nacre.interop;

import java.io.IOException;
import org.apache.dubbo.config.ReferenceConfig;

/**
 * Argument: the registry. Calls the providers all the time from {@code refer} on, and writes a line {@code called NAME} or
 * {@code failed REASON} for each call.
 */
final class DubboConsumer {
    private static final int PERIOD_MS = 50;

    private DubboConsumer() {
    }

    public static void main(String[] arguments) throws IOException {
        DubboApplication.obey(line -> {
            ReferenceConfig<Greeter> reference = new ReferenceConfig<>();
            reference.setApplication(DubboApplication.named("callers"));
            reference.setRegistry(DubboApplication.registry(arguments[0]));
            reference.setInterface(Greeter.class);
            reference.setVersion(DubboApplication.VERSION);
            reference.setTimeout(2000);
            // A call that fails is to be seen.
            reference.setRetries(0);
            Greeter greeter = reference.get();
            Tap.daemon("caller", () -> call(greeter));
        });
    }

    private static void call(Greeter greeter) {
        while (true) {
            try {
                System.out.println("called " + greeter.name());
            } catch (RuntimeException e) {
                System.out.println("failed " + e.toString().replace('\n', ' '));
            }
            System.out.flush();
            try {
                Thread.sleep(PERIOD_MS);
            } catch (InterruptedException e) {
                return;
            }
        }
    }
}
