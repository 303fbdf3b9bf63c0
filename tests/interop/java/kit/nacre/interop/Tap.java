package nacre.interop;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Predicate;

/**
 * Stands between the client and the server, passes every byte on unchanged and records each request with its answer.
 * While the server is down the client's connections are closed, much as the dead server's would be.
 */
final class Tap {
    private static final int MAX_MESSAGE_BYTES = 4 << 20;
    /** Clients beat every 5 s. */
    private static final long BEAT_LIMIT_MS = 15_000;
    private static final String MAX_MESSAGE_TEXT = "message over " + MAX_MESSAGE_BYTES + " bytes";

    private final ServerSocket listener;
    private final int serverPort;
    private final List<Exchange> exchanges = new ArrayList<>();

    Tap(int serverPort) throws IOException {
        this.serverPort = serverPort;
        this.listener = new ServerSocket(0, 128, InetAddress.getLoopbackAddress());
        daemon("tap", this::accept);
    }

    int port() {
        return listener.getLocalPort();
    }

    /** Answered and broken exchanges that began in the given span and match, oldest first. */
    List<Exchange> between(long fromMs, long toMs, Predicate<Exchange> wanted) {
        List<Exchange> found = new ArrayList<>();
        synchronized (exchanges) {
            for (Exchange exchange : exchanges) {
                if (exchange.atMs >= fromMs && exchange.atMs < toMs && wanted.test(exchange)) {
                    found.add(exchange);
                }
            }
        }
        return found;
    }

    /**
     * Waits for the next answered beat of an instance, so that the one after it is seconds away. A client whose beat
     * is under way while it deregisters the instance registers it again itself: the late beat is answered 20404.
     */
    void awaitBeat(String address) throws Exception {
        long fromMs = Clock.nowMs();
        Checks.eventually(BEAT_LIMIT_MS, () -> between(fromMs, Long.MAX_VALUE,
                e -> e.isBeat() && e.isOf(address) && e.status != 0).isEmpty() ? "no beat of " + address : null);
    }

    private void accept() {
        while (true) {
            try {
                Socket client = listener.accept();
                daemon("tap connection", () -> connect(client));
            } catch (IOException e) {
                return;
            }
        }
    }

    private void connect(Socket client) {
        Socket server = new Socket();
        try {
            server.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), serverPort), 3000);
            client.setTcpNoDelay(true);
            server.setTcpNoDelay(true);
        } catch (IOException e) {
            close(client, server);
            return;
        }
        LinkedBlockingQueue<Exchange> waiting = new LinkedBlockingQueue<>();
        daemon("tap answers", () -> pump(client, server, () -> answers(server, client, waiting)));
        pump(client, server, () -> requests(client, server, waiting));
    }

    private interface Pump {
        void run() throws IOException, InterruptedException;
    }

    /** Either direction's end closes both, so that each side learns at once that the other has gone. */
    private static void pump(Socket client, Socket server, Pump pump) {
        try {
            pump.run();
        } catch (IOException | InterruptedException e) {
            // The connection has broken; what was not answered stays recorded with status 0.
        } finally {
            close(client, server);
        }
    }

    private void requests(Socket from, Socket to, LinkedBlockingQueue<Exchange> waiting) throws IOException {
        InputStream in = new BufferedInputStream(from.getInputStream());
        OutputStream out = to.getOutputStream();
        Message request = Message.read(in, false);
        while (request != null) {
            String[] words = request.firstLine().split(" ");
            Exchange exchange = new Exchange(words[0], words[1], request.text());
            synchronized (exchanges) {
                exchanges.add(exchange);
            }
            waiting.add(exchange);
            request.writeTo(out);
            request = Message.read(in, false);
        }
    }

    private void answers(Socket from, Socket to, LinkedBlockingQueue<Exchange> waiting)
            throws IOException, InterruptedException {
        InputStream in = new BufferedInputStream(from.getInputStream());
        OutputStream out = to.getOutputStream();
        Message answer = Message.read(in, true);
        while (answer != null) {
            Exchange exchange = waiting.take();
            exchange.answer = answer.text();
            exchange.status = Integer.parseInt(answer.firstLine().split(" ")[1]);
            answer.writeTo(out);
            answer = Message.read(in, true);
        }
    }

    private static void close(Socket... sockets) {
        for (Socket socket : sockets) {
            try {
                socket.close();
            } catch (IOException e) {
                // It is gone either way.
            }
        }
    }

    static void daemon(String name, Runnable body) {
        Thread thread = new Thread(body, name);
        thread.setDaemon(true);
        thread.start();
    }

    /** One HTTP/1.1 message: the bytes as they came, and its content without the transfer coding. */
    private static final class Message {
        private final ByteArrayOutputStream raw = new ByteArrayOutputStream();
        private final ByteArrayOutputStream content = new ByteArrayOutputStream();
        private String head = "";

        /** Null when the connection ended before the first byte. */
        static Message read(InputStream in, boolean isAnswer) throws IOException {
            Message message = new Message();
            String line = message.line(in);
            if (line == null) {
                return null;
            }
            StringBuilder head = new StringBuilder();
            while (line != null && !line.isEmpty()) {
                head.append(line).append('\n');
                line = message.line(in);
            }
            message.head = head.toString();
            String length = message.header("content-length");
            if (message.header("transfer-encoding").toLowerCase(Locale.ROOT).contains("chunked")) {
                message.chunks(in);
            } else if (!length.isEmpty()) {
                message.take(in, Integer.parseInt(length));
            } else if (isAnswer && !message.firstLine().matches("HTTP/1.. (1..|204|304).*")) {
                throw new IOException("answer of unknown length: " + message.firstLine());
            }
            return message;
        }

        String firstLine() {
            return head.substring(0, Math.max(0, head.indexOf('\n')));
        }

        String text() {
            return new String(content.toByteArray(), StandardCharsets.UTF_8);
        }

        void writeTo(OutputStream out) throws IOException {
            raw.writeTo(out);
            out.flush();
        }

        private String header(String name) {
            for (String line : head.split("\n")) {
                int colon = line.indexOf(':');
                if (colon > 0 && line.substring(0, colon).equalsIgnoreCase(name)) {
                    return line.substring(colon + 1).trim();
                }
            }
            return "";
        }

        private void chunks(InputStream in) throws IOException {
            String size = line(in);
            while (size != null && Integer.parseInt(size.split(";")[0].trim(), 16) > 0) {
                take(in, Integer.parseInt(size.split(";")[0].trim(), 16));
                line(in);
                size = line(in);
            }
            String trailer = line(in);
            while (trailer != null && !trailer.isEmpty()) {
                trailer = line(in);
            }
        }

        private void take(InputStream in, int count) throws IOException {
            for (int i = 0; i < count; i++) {
                content.write(octet(in));
            }
        }

        /** A line without its end; null at the end of the stream. */
        private String line(InputStream in) throws IOException {
            ByteArrayOutputStream line = new ByteArrayOutputStream();
            in.mark(1);
            if (in.read() < 0) {
                return null;
            }
            in.reset();
            int octet = octet(in);
            while (octet != '\n') {
                line.write(octet);
                octet = octet(in);
            }
            return new String(line.toByteArray(), StandardCharsets.ISO_8859_1).replace("\r", "");
        }

        private int octet(InputStream in) throws IOException {
            int octet = in.read();
            if (octet < 0) {
                throw new IOException("connection ended within a message");
            }
            if (raw.size() >= MAX_MESSAGE_BYTES) {
                throw new IOException(MAX_MESSAGE_TEXT);
            }
            raw.write(octet);
            return octet;
        }
    }
}
