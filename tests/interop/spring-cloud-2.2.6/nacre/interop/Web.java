package nacre.interop;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;

/** Asks an application of the story. */
final class Web {
    private static final int TIMEOUT_MS = 5000;

    private Web() {
    }

    /** The answer as {@code STATUS TEXT}. */
    static String get(int port, String path) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) new URL("http://127.0.0.1:" + port + path).openConnection();
        connection.setConnectTimeout(TIMEOUT_MS);
        connection.setReadTimeout(TIMEOUT_MS);
        int status = connection.getResponseCode();
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        try (InputStream in = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            byte[] part = new byte[8192];
            for (int count = in == null ? -1 : in.read(part); count >= 0; count = in.read(part)) {
                all.write(part, 0, count);
            }
        }
        return status + " " + new String(all.toByteArray(), StandardCharsets.UTF_8);
    }
}
