package nacre.interop;

import static nacre.interop.Checks.that;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * An application of the story in a process of its own, with the class path and the options of this one. It speaks in
 * lines on its standard output; what it writes on standard error goes to the file WORK/NAME.log.
 */
final class Child {
    private final String name;
    private final Process process;
    private final PrintStream input;
    private final List<String> lines = new ArrayList<>();

    /** {@code options} are those of the JVM besides; its home folder is WORK/NAME. */
    Child(File work, String name, Class<?> main, List<String> options, String... arguments) throws IOException {
        this.name = name;
        File home = new File(work, name);
        that(home.mkdirs(), "no folder " + home);
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("java.home") + "/bin/java");
        for (String option : ManagementFactory.getRuntimeMXBean().getInputArguments()) {
            if (!option.startsWith("-Duser.home=") && !option.startsWith("-DJM.")) {
                command.add(option);
            }
        }
        command.addAll(Arrays.asList("-Duser.home=" + home, "-DJM.LOG.PATH=" + home, "-DJM.SNAPSHOT.PATH=" + home));
        command.addAll(options);
        command.addAll(Arrays.asList("-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(Arrays.asList(arguments));
        process = new ProcessBuilder(command).directory(home).redirectError(new File(work, name + ".log")).start();
        input = new PrintStream(process.getOutputStream(), true, "UTF-8");
        Tap.daemon(name, this::read);
    }

    private void read() {
        try (BufferedReader output =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            for (String line = output.readLine(); line != null; line = output.readLine()) {
                synchronized (lines) {
                    lines.add(line);
                }
            }
        } catch (IOException e) {
            // It has ended.
        }
    }

    /** Waits for a line that begins so, and returns what follows. Each line is returned once. */
    String await(String start, long limitMs) throws InterruptedException {
        long end = Clock.nowMs() + limitMs;
        while (true) {
            synchronized (lines) {
                for (int i = 0; i < lines.size(); i++) {
                    if (lines.get(i).startsWith(start)) {
                        return lines.remove(i).substring(start.length());
                    }
                }
            }
            that(process.isAlive(), name + " has ended with status " + (process.isAlive() ? 0 : process.exitValue()));
            that(Clock.nowMs() < end, name + " did not say \"" + start + "\" within " + limitMs + " ms");
            Thread.sleep(20);
        }
    }

    void say(String line) {
        input.println(line);
    }

    /** SIGTERM; does not wait. */
    void terminate() {
        process.destroy();
    }
}
