package nacre.interop;

import java.io.UnsupportedEncodingException;
import java.net.URLDecoder;

/** One request of the client and what the server answered, as seen by {@link Tap}. */
final class Exchange {
    final long atMs = Clock.nowMs();
    final String method;
    final String path;
    final String query;
    final String body;
    /** 0 until answered, and for good when the connection broke first. */
    volatile int status;
    volatile String answer = "";

    Exchange(String method, String target, String body) {
        int mark = target.indexOf('?');
        this.method = method;
        this.path = mark < 0 ? target : target.substring(0, mark);
        this.query = mark < 0 ? "" : target.substring(mark + 1);
        this.body = body;
    }

    boolean isRegistration() {
        return method.equals("POST") && path.equals("/nacos/v1/ns/instance");
    }

    boolean isBeat() {
        return method.equals("PUT") && path.equals("/nacos/v1/ns/instance/beat");
    }

    boolean isFullBeat() {
        return isBeat() && body.contains("beat=");
    }

    boolean isList() {
        return method.equals("GET") && path.equals("/nacos/v1/ns/instance/list");
    }

    /** Whether the query names this port: how the story tells its instances apart. */
    boolean isOf(int port) {
        return Integer.toString(port).equals(parameter("port"));
    }

    boolean isOf(String address) {
        return address.equals(parameter("ip") + ":" + parameter("port"));
    }

    /** The decoded value of a parameter of the query, or an empty text. */
    String parameter(String name) {
        for (String pair : query.split("&")) {
            if (pair.startsWith(name + "=")) {
                try {
                    return URLDecoder.decode(pair.substring(name.length() + 1), "UTF-8");
                } catch (UnsupportedEncodingException e) {
                    throw new IllegalStateException(e);
                }
            }
        }
        return "";
    }

    @Override
    public String toString() {
        return method + " " + path + " port " + parameter("port") + " at " + atMs + " ms -> " + status + " " + answer;
    }
}
