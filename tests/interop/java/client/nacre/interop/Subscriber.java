package nacre.interop;

import com.alibaba.nacos.api.naming.listener.Event;
import com.alibaba.nacos.api.naming.listener.EventListener;
import com.alibaba.nacos.api.naming.listener.NamingEvent;
import com.alibaba.nacos.api.naming.pojo.Instance;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;

/** An application's listener that keeps every list it is told. */
final class Subscriber implements EventListener {
    private final List<Told> lists = new ArrayList<>();

    static final class Told {
        final long atMs = Clock.nowMs();
        final TreeMap<String, Instance> byAddress = new TreeMap<>();

        @Override
        public String toString() {
            return byAddress.keySet() + " at " + atMs + " ms";
        }
    }

    @Override
    public void onEvent(Event event) {
        Told told = new Told();
        for (Instance instance : ((NamingEvent) event).getInstances()) {
            told.byAddress.put(instance.getIp() + ":" + instance.getPort(), instance);
        }
        synchronized (lists) {
            lists.add(told);
        }
    }

    List<Told> since(long fromMs) {
        List<Told> found = new ArrayList<>();
        synchronized (lists) {
            for (Told told : lists) {
                if (told.atMs >= fromMs) {
                    found.add(told);
                }
            }
        }
        return found;
    }

    /** The newest list told, or null. */
    Told last() {
        synchronized (lists) {
            return lists.isEmpty() ? null : lists.get(lists.size() - 1);
        }
    }
}
