"""The story of nacos-sdk-python: story.py PORT NAMESPACE, started by tests/interop/witness, which see.

This client knows no push, no list of services and no server status. Its subscription polls, and ends for good at the
first poll that fails: after the restart the story subscribes again.
"""

import os
import queue
import subprocess
import sys
import threading
import time

from nacos import NacosClient
from nacos.listener import Event, SubscribeListener

GROUP, SERVICE = "INTEROP_GROUP", "interop.Greeter:1.0"
IP, ONE, TWO, GUEST, MORTAL = "127.0.0.1", 7001, 7002, 7003, 7004
CLUSTERS = {ONE: "c1", TWO: "c2", GUEST: "c1", MORTAL: "c1"}
WEIGHTS = {ONE: 2.5, TWO: 1.0, GUEST: 1.0, MORTAL: 1.0}
TEXT = 'Grüße, 你好 & a=b "c" {d} 50% + x'
BEAT_S = 5
# The client's own default is 7 s.
POLL_S = 1
# A poll, the merging of changes (1 s) and a slow machine.
TOLD_S = 5
# The beats' limits of an instance that may die early.
SHORT = {"preserved.heart.beat.interval": "1000", "preserved.heart.beat.timeout": "3000",
         "preserved.ip.delete.timeout": "6000"}


class Failure(Exception):
    pass


def that(holds, reason):
    if not holds:
        raise Failure(reason)


def check(name, body):
    try:
        body()
    except Failure as failure:
        print(f"FAIL {name}: {failure}", flush=True)
    except Exception as error:
        print(f"FAIL {name}: {error!r}", flush=True)
    else:
        print(f"PASS {name}", flush=True)


def eventually(limit_s, problem):
    """Waits until `problem` returns None; its last text is the reason when it never does."""
    end = time.monotonic() + limit_s
    while (reason := problem()) is not None:
        that(time.monotonic() < end, f"{reason} (waited {limit_s} s)")
        time.sleep(0.01)


class Witness:
    """The process that started this one. Without it this one ends too."""

    def __init__(self):
        self.answers = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in sys.stdin:
            self.answers.put(line)
        os._exit(3)

    def ask(self, line):
        print(line, flush=True)
        self.answers.get()


class Subscriber:
    """Keeps every event, and what they amount to."""

    def __init__(self):
        self.events = []
        self.hosts = {}

    def listener(self):
        return SubscribeListener(fn=self.told, listener_name="story")

    def told(self, event, instance):
        host = instance.instance
        self.events.append((time.monotonic(), event, host["port"], host))
        if event == Event.DELETED:
            self.hosts.pop(host["port"], None)
        else:
            self.hosts[host["port"]] = host

    def problem(self, port, wanted):
        """None if the last that was told of the port's host is as wanted."""
        return None if wanted(self.hosts.get(port)) else f"last told of {port}: {self.hosts.get(port)}"


class Story:
    def __init__(self, port, namespace):
        self.port, self.namespace = port, namespace
        self.witness = Witness()
        self.first, self.second = self.client(namespace), self.client(namespace)
        self.subscriber = Subscriber()

    def client(self, namespace):
        return NacosClient(f"127.0.0.1:{self.port}", namespace=namespace, logDir=os.path.expanduser("~"))

    def run(self):
        self.arrive()
        self.find()
        self.watch()
        self.lose_one()
        self.witness.ask("@steady")
        self.witness.ask("@restart")
        self.go_on()
        self.witness.ask("@settled")
        self.leave()

    def arrive(self):
        def register():
            register_instance(self.first, ONE, {"zone": "c1", "text": TEXT})
            register_instance(self.first, TWO, {"zone": "c2"})

        check("register_two", register)
        self.witness.ask("@arrived")
        time.sleep(0.3)

    def find(self):
        check("list_all_instances", self.all_are_listed)
        check("list_instances_of_a_cluster", lambda: self.ports_are([ONE], clusters="c1"))
        check("list_healthy_instances", lambda: self.ports_are([ONE, TWO], healthy_only=True))
        check("unknown_service_is_empty", lambda: self.ports_are([], service="interop.Nobody"))
        check("another_group_is_apart", lambda: self.ports_are([], group="DEFAULT_GROUP"))
        check("another_namespace_is_apart", lambda: self.ports_are([], client=self.client(self.namespace + "-other")))
        check("get_one_instance", self.one_is_got)

    def all_are_listed(self):
        hosts = {host["port"]: host for host in self.hosts()}
        that(sorted(hosts) == [ONE, TWO], f"got {hosts}")
        for port, metadata in ((ONE, {"zone": "c1", "text": TEXT}), (TWO, {"zone": "c2"})):
            host = hosts[port]
            that(host["weight"] == WEIGHTS[port] and host["clusterName"] == CLUSTERS[port], f"got {host}")
            that(host["metadata"] == metadata, f"metadata of {host}")
            that(host["healthy"] and host["enabled"] and host["ephemeral"], f"flags of {host}")
            # The shape for clients that are not known as Java ones.
            that(host["serviceName"] == SERVICE, f"serviceName of {host}")
            that(host["instanceId"] == f"{IP}#{port}#{CLUSTERS[port]}#{GROUP}@@{SERVICE}", f"instanceId of {host}")

    def one_is_got(self):
        # This call has no group.
        add = {"service_name": "interop.Single", "ip": IP, "port": ONE, "cluster_name": "c1"}
        that(self.second.add_naming_instance(weight=2.5, metadata={"text": TEXT}, **add), "not registered")
        got = self.second.get_naming_instance("interop.Single", IP, ONE, cluster_name="c1")
        that(got["weight"] == 2.5 and got["metadata"] == {"text": TEXT}, f"got {got}")
        that(self.second.remove_naming_instance(**add), "not deregistered")

    def hosts(self, client=None, service=SERVICE, group=GROUP, **more):
        return (client or self.first).list_naming_instance(service, group_name=group, **more)["hosts"]

    def ports_are(self, wanted, **more):
        got = sorted(host["port"] for host in self.hosts(**more))
        that(got == wanted, f"got {got}")

    def watch(self):
        def subscribe():
            self.subscribe()
            # It takes in the first host without a word and tells of the others one poll later.
            eventually(TOLD_S, lambda: None if self.subscriber.hosts else "told of nothing")

        def change():
            metadata = {"zone": "c2", "text": "changed: " + TEXT}
            that(self.second.modify_naming_instance(SERVICE, IP, TWO, "c2", weight=0.5, metadata=metadata,
                                                    group_name=GROUP), "not modified")
            eventually(TOLD_S, lambda: self.subscriber.problem(
                TWO, lambda host: host and host["weight"] == 0.5 and host["metadata"] == metadata))

        check("subscriber_is_told_the_first_list", subscribe)
        self.guest_comes_and_goes("")
        check("changed_weight_and_metadata_reach_the_subscriber", change)

    def subscribe(self):
        self.first.subscribe(self.subscriber.listener(), POLL_S, SERVICE, group_name=GROUP)

    def guest_comes_and_goes(self, when):
        def come():
            start = time.monotonic()
            register_instance(self.second, GUEST, {"text": "guest"})
            eventually(TOLD_S, lambda: self.subscriber.problem(GUEST, lambda host: host))
            print(f"   told after {(time.monotonic() - start) * 1000:.0f} ms (polls every {POLL_S} s)", flush=True)

        def go():
            that(self.second.remove_naming_instance(SERVICE, IP, GUEST, "c1", group_name=GROUP), "not deregistered")
            eventually(TOLD_S, lambda: self.subscriber.problem(GUEST, lambda host: host is None))

        check("registration_by_another_client_reaches_the_subscriber" + when, come)
        # The client sends the first beat right after the registration. If it were overtaken by what comes next, it
        # would bring the guest back.
        self.witness.ask(f"@beat {GUEST}")
        check("deregistration_by_another_client_reaches_the_subscriber" + when, go)

    def lose_one(self):
        """Another process registers an instance with short limits, and is killed."""
        mortal = subprocess.Popen([sys.executable, __file__, "mortal", str(self.port), self.namespace],
                                  stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        check("instance_of_another_process_is_told_healthy", lambda: eventually(
            TOLD_S * 2, lambda: self.subscriber.problem(MORTAL, lambda host: host and host["healthy"])))
        # Longer than its limits: it lives by its beats.
        time.sleep(5)
        check("it_stays_healthy_by_its_beats", lambda: that(
            self.subscriber.hosts.get(MORTAL, {}).get("healthy"), f"told {self.subscriber.hosts.get(MORTAL)}"))
        mortal.kill()
        mortal.wait()
        check("killed_without_a_word_it_is_told_unhealthy", lambda: eventually(
            3 + 5 + TOLD_S, lambda: self.subscriber.problem(MORTAL, lambda host: host and not host["healthy"])))
        check("and_then_gone", lambda: eventually(
            3 + 5 + TOLD_S, lambda: self.subscriber.problem(MORTAL, lambda host: host is None)))

    def go_on(self):
        killed = len(self.subscriber.events)
        check("client_lists_all_again", lambda: self.ports_are([ONE, TWO]))
        check("new_client_lists_all_at_its_first_call",
              lambda: self.ports_are([ONE, TWO], client=self.client(self.namespace)))

        def unchanged():
            # It compares with what it knew before the kill, by the text of each host.
            self.subscribe()
            time.sleep(2.5 * POLL_S)
            that(len(self.subscriber.events) == killed, f"told {self.subscriber.events[killed:]}")

        check("new_subscription_finds_nothing_changed", unchanged)
        self.guest_comes_and_goes("_after_restart")

    def leave(self):
        def both_leave():
            for port in (ONE, TWO):
                self.witness.ask(f"@beat {port}")
                that(self.first.remove_naming_instance(SERVICE, IP, port, CLUSTERS[port], group_name=GROUP),
                     f"{port} not deregistered")
            eventually(TOLD_S, lambda: f"told {self.subscriber.hosts}" if self.subscriber.hosts else None)

        check("subscriber_is_told_that_both_have_left", both_leave)
        check("client_lists_none", lambda: self.ports_are([]))


def register_instance(client, port, metadata):
    that(client.add_naming_instance(
        SERVICE, IP, port, CLUSTERS[port], weight=WEIGHTS[port], metadata=metadata, group_name=GROUP,
        heartbeat_interval=1 if port == MORTAL else BEAT_S), f"{port} not registered")


def mortal(port, namespace):
    client = NacosClient(f"127.0.0.1:{port}", namespace=namespace, logDir=os.path.expanduser("~"))
    register_instance(client, MORTAL, SHORT)
    sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1] == "mortal":
        mortal(*sys.argv[2:])
    else:
        Story(*sys.argv[1:]).run()
    sys.stdout.flush()
    # Its timers would keep the process alive.
    os._exit(0)
