package nacre.interop;

import java.io.IOException;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ServiceConfig;

/** Arguments: its name, the registry, the address and the port to serve on. Knows {@code export}, {@code unexport}. */
final class DubboProvider {
    private final String[] arguments;
    private ServiceConfig<Greeter> service;

    private DubboProvider(String[] arguments) {
        this.arguments = arguments;
    }

    public static void main(String[] arguments) throws IOException {
        DubboApplication.obey(new DubboProvider(arguments)::obey);
    }

    private void obey(String line) {
        if (line.equals("export")) {
            export();
        } else {
            service.unexport();
        }
    }

    /** An unexported service can't be exported again: it is a new one each time. */
    private void export() {
        ProtocolConfig protocol = new ProtocolConfig("dubbo", Integer.parseInt(arguments[3]));
        protocol.setHost(arguments[2]);
        service = new ServiceConfig<>();
        service.setApplication(DubboApplication.named("greeters"));
        service.setRegistry(DubboApplication.registry(arguments[1]));
        service.setProtocol(protocol);
        service.setInterface(Greeter.class);
        service.setVersion(DubboApplication.VERSION);
        service.setRef(() -> arguments[0]);
        service.export();
    }
}
