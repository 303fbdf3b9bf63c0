package nacre.interop;

import static nacre.interop.Checks.eventually;
import static nacre.interop.Checks.that;

import com.alibaba.nacos.api.PropertyKeyConst;
import com.alibaba.nacos.api.exception.NacosException;
import com.alibaba.nacos.api.naming.NamingFactory;
import com.alibaba.nacos.api.naming.NamingMaintainFactory;
import com.alibaba.nacos.api.naming.NamingMaintainService;
import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.pojo.Instance;
import com.alibaba.nacos.api.naming.pojo.ListView;
import com.alibaba.nacos.api.naming.pojo.Service;
import com.alibaba.nacos.api.selector.NoneSelector;
import java.io.IOException;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Properties;
import java.util.TreeSet;

/**
 * A day in the life of an application with two instances: they are registered, found, watched and kept alive; the
 * server is killed and comes back; nobody may notice more than refused connections; then both leave.
 */
final class Story {
    private static final String NAMESPACE = "interop";
    private static final String GROUP = "INTEROP_GROUP";
    private static final String SERVICE = "interop.Greeter:1.0";
    /** Made by hand, without instances. */
    private static final String KEPT = "interop.Kept";
    private static final int ONE = 7001;
    private static final int TWO = 7002;
    /** Belongs to the second application and comes and goes; what is said of "both" never means it. */
    private static final int GUEST = 7003;
    private static final List<String> BOTH = Arrays.asList("127.0.0.1:" + ONE, "127.0.0.1:" + TWO);

    /** More than the beat timeout (15 s), so that an instance whose beats don't count turns unhealthy within. */
    private static final long WATCH_BEFORE_MS = 21_000;
    private static final long WATCH_AFTER_MS = 17_000;
    /** The client polls every 3 s (cacheMillis), 10 s where the server can push, later after failed polls. */
    private static final long TOLD_LIMIT_MS = 15_000;
    /** From a change to the subscriber by UDP, some ms unless the machine is busy; polls come every 10 s. */
    private static final long PUSH_LIMIT_MS = 3_000;
    /** The server pushes changes that follow another within a second together, later. */
    private static final long QUIET_MS = 1_200;
    private static final int PUSH_ATTEMPTS = 4;
    /** From a change right after a restart to the subscriber, whose subscription was stored. */
    private static final long AFTER_RESTART_LIMIT_MS = 3_000;

    private final Checks checks;
    private final Tap tap;
    private final Lists lists;
    private final Subscriber subscriber = new Subscriber();
    private final NamingService first;
    private final NamingService second;
    private final NamingMaintainService maintain;
    private final Restart restart;

    private long registeredAtMs;

    private Story(Checks checks, int port) throws IOException, NacosException {
        this.checks = checks;
        tap = new Tap(port);
        lists = new Lists(port, NAMESPACE, GROUP + "@@" + SERVICE);
        first = NamingFactory.createNamingService(properties());
        second = NamingFactory.createNamingService(properties());
        maintain = NamingMaintainFactory.createMaintainService(properties());
        restart = new Restart(checks, new ServerProcess(), tap, e -> e.isOf(GUEST), lists);
    }

    /** One argument: the port of the running server. Exits by itself: threads of the client would keep it alive. */
    public static void main(String[] args) {
        Checks checks = new Checks();
        checks.check("story_reaches_its_end", () -> new Story(checks, Integer.parseInt(args[0])).tell());
        System.exit(checks.finish());
    }

    private void tell() throws Exception {
        arrive();
        find();
        maintain();
        watch();
        live();
        survive();
        goOn();
        leave();
    }

    private Properties properties() {
        Properties properties = new Properties();
        properties.setProperty(PropertyKeyConst.SERVER_ADDR, "127.0.0.1:" + tap.port());
        properties.setProperty(PropertyKeyConst.NAMESPACE, NAMESPACE);
        return properties;
    }

    private static Instance instance(int port, double weight, String cluster, String text) {
        Instance instance = new Instance();
        instance.setIp("127.0.0.1");
        instance.setPort(port);
        instance.setWeight(weight);
        instance.setClusterName(cluster);
        instance.addMetadata("zone", cluster);
        instance.addMetadata("text", text);
        return instance;
    }

    private void arrive() throws Exception {
        checks.check("server_status_is_up", () -> that("UP".equals(first.getServerStatus()),
                "getServerStatus is " + first.getServerStatus()));
        registeredAtMs = Clock.nowMs();
        checks.check("register_two", () -> {
            first.registerInstance(SERVICE, GROUP, instance(ONE, 2.5, "c1", "Grüße, 你好 & a=b \"c\" {d}"));
            first.registerInstance(SERVICE, GROUP, instance(TWO, 1.0, "c2", ""));
        });
        lists.startPolling(BOTH);
        // The reference shows a write up to 100 ms after its answer, and so may any server.
        Thread.sleep(300);
    }

    private void find() {
        checks.check("get_all_instances", () -> {
            List<Instance> all = first.getAllInstances(SERVICE, GROUP, false);
            that(addresses(all).equals(new TreeSet<>(BOTH)), "got " + addresses(all));
            for (Instance got : all) {
                Instance sent = got.getPort() == ONE
                        ? instance(ONE, 2.5, "c1", "Grüße, 你好 & a=b \"c\" {d}") : instance(TWO, 1.0, "c2", "");
                that(got.getWeight() == sent.getWeight(), "weight of " + got);
                that(got.getClusterName().equals(sent.getClusterName()), "cluster of " + got);
                that(got.getMetadata().equals(sent.getMetadata()), "metadata of " + got);
                that(got.getServiceName().equals(GROUP + "@@" + SERVICE), "serviceName of " + got);
                that(got.isHealthy() && got.isEnabled() && got.isEphemeral(), "flags of " + got);
                that(got.getInstanceId().equals("127.0.0.1#" + got.getPort() + "#" + sent.getClusterName() + "#" + GROUP
                        + "@@" + SERVICE), "instanceId of " + got);
            }
        });
        checks.check("get_instances_of_a_cluster", () -> {
            List<Instance> some = first.getAllInstances(SERVICE, GROUP, Collections.singletonList("c1"), false);
            that(addresses(some).equals(Collections.singleton(BOTH.get(0))), "got " + addresses(some));
        });
        checks.check("get_instances_of_an_unknown_service", () -> {
            List<Instance> none = first.getAllInstances("interop.Nobody", GROUP, false);
            that(none.isEmpty(), "got " + addresses(none));
        });
        checks.check("select_instances", () -> {
            List<Instance> healthy = first.selectInstances(SERVICE, GROUP, true, false);
            that(addresses(healthy).equals(new TreeSet<>(BOTH)), "got " + addresses(healthy));
            List<Instance> unhealthy = first.selectInstances(SERVICE, GROUP, false, false);
            that(unhealthy.isEmpty(), "unhealthy are " + addresses(unhealthy));
        });
        checks.check("select_one_healthy_instance", () -> {
            Instance one = first.selectOneHealthyInstance(SERVICE, GROUP, false);
            that(BOTH.contains(address(one)), "got " + one);
        });
    }

    private void maintain() {
        checks.check("create_service", () -> {
            maintain.createService(KEPT, GROUP, 0.5f, "CONSUMER.label.zone = PROVIDER.label.zone");
            Service made = maintain.queryService(KEPT, GROUP);
            that(made.getName().equals(KEPT) && made.getGroupName().equals(GROUP), "got " + made);
            that(made.getProtectThreshold() == 0.5f && made.getMetadata().isEmpty(), "got " + made);
        });
        checks.check("create_a_service_that_is_there", () -> {
            try {
                maintain.createService(KEPT, GROUP);
            } catch (NacosException e) {
                return;
            }
            that(false, "it was made a second time");
        });
        checks.check("update_service", () -> {
            Service changed = new Service(KEPT);
            changed.setGroupName(GROUP);
            changed.setProtectThreshold(0.25f);
            changed.addMetadata("owner", "Grüße & a=b");
            maintain.updateService(changed, new NoneSelector());
            isKept(maintain.queryService(KEPT, GROUP));
        });
        checks.check("query_a_service_that_is_not_there", () -> {
            try {
                that(false, "got " + maintain.queryService("interop.Nobody", GROUP));
            } catch (NacosException e) {
                that(e.getErrMsg().contains("is not found"), e.toString());
            }
        });
        checks.check("services_by_page", () -> {
            ListView<String> all = first.getServicesOfServer(1, 10, GROUP);
            TreeSet<String> names = new TreeSet<>(Arrays.asList(SERVICE, KEPT));
            that(all.getCount() == 2 && new TreeSet<>(all.getData()).equals(names), "got " + all);
            TreeSet<String> paged = new TreeSet<>();
            for (int page = 1; page <= 2; page++) {
                ListView<String> one = first.getServicesOfServer(page, 1, GROUP);
                that(one.getCount() == 2 && one.getData().size() == 1, "page " + page + " is " + one);
                paged.addAll(one.getData());
            }
            that(paged.equals(names), "the pages have " + paged);
            that(first.getServicesOfServer(3, 1, GROUP).getData().isEmpty(), "there is a third page");
            that(first.getServicesOfServer(1, 10, "OTHER_GROUP").getCount() == 0, "another group has services");
        });
    }

    private static void isKept(Service service) {
        that(service.getProtectThreshold() == 0.25f, "got " + service);
        that(service.getMetadata().equals(Collections.singletonMap("owner", "Grüße & a=b")), "got " + service);
    }

    private void watch() {
        checks.check("subscriber_is_told_the_first_list", () -> {
            first.subscribe(SERVICE, GROUP, subscriber);
            eventually(TOLD_LIMIT_MS, () -> toldOf(BOTH));
        });
        guestComesAndGoes("", TOLD_LIMIT_MS);
        checks.check("a_change_is_pushed_within_1500_ms", this::guestIsPushed);
        checks.check("changed_weight_and_metadata_reach_the_subscriber", () -> {
            Instance changed = instance(TWO, 0.5, "c2", "changed");
            maintain.updateInstance(SERVICE, GROUP, changed);
            eventually(TOLD_LIMIT_MS, () -> {
                Instance told = subscriber.last() == null ? null : subscriber.last().byAddress.get(BOTH.get(1));
                boolean same = told != null && told.getWeight() == 0.5
                        && told.getMetadata().equals(changed.getMetadata());
                return same ? null : "last told " + told;
            });
        });
    }

    /** Another application's instance is registered and deregistered, and the subscriber is told both times. */
    private void guestComesAndGoes(String when, long limitMs) {
        checks.check("registration_by_another_client_reaches_the_subscriber" + when, () -> {
            second.registerInstance(SERVICE, GROUP, instance(GUEST, 1.0, "c1", "guest"));
            eventually(limitMs, () -> toldOf(Arrays.asList(BOTH.get(0), BOTH.get(1), "127.0.0.1:" + GUEST)));
        });
        checks.check("deregistration_by_another_client_reaches_the_subscriber" + when, () -> {
            second.deregisterInstance(SERVICE, GROUP, "127.0.0.1", GUEST, "c1");
            eventually(limitMs, () -> toldOf(BOTH));
        });
    }

    /** A poll that comes between by chance proves nothing: then once more. */
    private void guestIsPushed() throws Exception {
        for (int attempt = 0; attempt < PUSH_ATTEMPTS; attempt++) {
            Thread.sleep(QUIET_MS);
            long fromMs = Clock.nowMs();
            second.registerInstance(SERVICE, GROUP, instance(GUEST, 1.0, "c1", "pushed"));
            eventually(PUSH_LIMIT_MS, () -> toldOf(Arrays.asList(BOTH.get(0), BOTH.get(1), "127.0.0.1:" + GUEST)));
            long toldMs = Clock.nowMs();
            second.deregisterInstance(SERVICE, GROUP, "127.0.0.1", GUEST, "c1");
            eventually(TOLD_LIMIT_MS, () -> toldOf(BOTH));
            if (tap.between(fromMs, toldMs, Exchange::isList).isEmpty()) {
                System.out.println("   pushed within " + (toldMs - fromMs) + " ms");
                return;
            }
        }
        that(false, "a poll came between each time");
    }

    private String toldOf(List<String> wanted) {
        Subscriber.Told last = subscriber.last();
        boolean same = last != null && last.byAddress.keySet().equals(new TreeSet<>(wanted));
        return same ? null : "last told " + last + ", not " + wanted;
    }

    private void live() throws Exception {
        Clock.sleepUntil(registeredAtMs + WATCH_BEFORE_MS);
        long now = Clock.nowMs();
        checks.check("healthy_for_20_s_by_beats", () -> lists.areWhole(registeredAtMs + 500, now));
        checks.check("every_beat_is_answered_10200", () -> areBeatsGood(registeredAtMs, now, 3));
        checks.check("beats_become_light", () -> {
            List<Exchange> full = tap.between(registeredAtMs, now, e -> e.isFullBeat() && !e.isOf(GUEST));
            // Both first beats may be on their way before the first answer allows light ones.
            that(full.size() <= 2, full.size() + " full beats, the last " + full.get(Math.max(0, full.size() - 1)));
        });
    }

    private void survive() throws Exception {
        restart.perform();
        checks.check("new_client_gets_all_at_its_first_call", () -> {
            List<Instance> all = NamingFactory.createNamingService(properties()).getAllInstances(SERVICE, GROUP);
            that(addresses(all).equals(new TreeSet<>(BOTH)), "got " + addresses(all));
        });
        checks.check("server_status_is_up_again", () -> eventually(Restart.START_LIMIT_MS,
                () -> "UP".equals(first.getServerStatus()) ? null : "getServerStatus is " + first.getServerStatus()));
        checks.check("service_is_as_before_the_kill", () -> isKept(maintain.queryService(KEPT, GROUP)));
    }

    private void goOn() throws Exception {
        guestComesAndGoes("_after_restart", AFTER_RESTART_LIMIT_MS);
        Clock.sleepUntil(restart.startedAtMs + WATCH_AFTER_MS);
        long now = Clock.nowMs();
        restart.judge(now);
        checks.check("client_was_served_no_short_list_after_restart", () -> {
            List<Exchange> answered = tap.between(restart.startedAtMs, now, e -> e.isList() && e.status != 0
                    && e.parameter("serviceName").equals(GROUP + "@@" + SERVICE));
            that(!answered.isEmpty(), "the client asked for no list");
            for (Exchange list : answered) {
                that(list.answer.contains(":" + ONE + ",") && list.answer.contains(":" + TWO + ","), list.toString());
            }
        });
        checks.check("subscriber_was_told_no_short_list", () -> {
            for (Subscriber.Told told : subscriber.since(restart.killedAtMs)) {
                for (String address : BOTH) {
                    Instance instance = told.byAddress.get(address);
                    that(instance != null && instance.isHealthy(), "told " + told + ", not healthy: " + address);
                }
            }
        });
        checks.check("no_beat_is_answered_20404_after_restart", () -> areBeatsGood(restart.startedAtMs, now, 2));
    }

    private void leave() {
        checks.check("delete_service", () -> {
            that(maintain.deleteService(KEPT, GROUP), "deleteService is false");
            ListView<String> rest = first.getServicesOfServer(1, 10, GROUP);
            that(rest.getData().equals(Collections.singletonList(SERVICE)), "there are " + rest);
        });
        checks.check("deregister_one_leaves_the_other", () -> {
            tap.awaitBeat(BOTH.get(0));
            first.deregisterInstance(SERVICE, GROUP, "127.0.0.1", ONE, "c1");
            Lists.Answer answer = lists.ask();
            that(answer.status == 200 && answer.byAddress().keySet().equals(Collections.singleton(BOTH.get(1))),
                    answer.toString());
        });
        checks.check("deregister_both_leaves_an_empty_list", () -> {
            tap.awaitBeat(BOTH.get(1));
            first.deregisterInstance(SERVICE, GROUP, "127.0.0.1", TWO, "c2");
            Lists.Answer answer = lists.ask();
            that(answer.status == 200 && answer.hosts().isArray() && answer.hosts().size() == 0, answer.toString());
        });
        checks.check("subscriber_is_told_the_empty_list",
                () -> eventually(TOLD_LIMIT_MS, () -> toldOf(Collections.emptyList())));
        checks.check("unsubscribe", () -> {
            that(first.getSubscribeServices().size() == 1, "subscribed are " + first.getSubscribeServices());
            first.unsubscribe(SERVICE, GROUP, subscriber);
            that(first.getSubscribeServices().isEmpty(), "subscribed are " + first.getSubscribeServices());
        });
        checks.check("client_finds_none", () -> eventually(TOLD_LIMIT_MS, () -> {
            List<Instance> rest = first.getAllInstances(SERVICE, GROUP);
            return rest.isEmpty() ? null : "got " + addresses(rest);
        }));
    }

    private void areBeatsGood(long fromMs, long toMs, int least) {
        for (String address : BOTH) {
            Restart.areBeatsGood(tap, address, fromMs, toMs, least);
        }
    }

    private static String address(Instance instance) {
        return instance.getIp() + ":" + instance.getPort();
    }

    private static TreeSet<String> addresses(List<Instance> instances) {
        TreeSet<String> found = new TreeSet<>();
        for (Instance instance : instances) {
            found.add(address(instance));
        }
        return found;
    }
}
