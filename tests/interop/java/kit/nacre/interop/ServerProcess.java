package nacre.interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/**
 * The server's life is in the hands of whoever started this program: it is asked by a line on standard output
 * ({@code @kill}, {@code @start}) and answers {@code done} on standard input once that has happened.
 */
final class ServerProcess {
    private final BufferedReader answers =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

    /** SIGKILL; returns when the process has gone. */
    void kill() throws IOException {
        ask("@kill");
    }

    /** Starts it again on the same port and home; returns as soon as it has been started, not when it is ready. */
    void start() throws IOException {
        ask("@start");
    }

    private void ask(String what) throws IOException {
        System.out.println(what);
        System.out.flush();
        String answer = answers.readLine();
        if (!"done".equals(answer)) {
            throw new IOException(what + " was answered " + answer);
        }
    }
}
