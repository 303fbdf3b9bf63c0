package nacre.interop;

/** What the providers do. */
public interface Greeter {
    /** The name of the provider that was called. */
    String name();
}
