"""Runs a client's program beside a witness: python3 -B tests/interop/witness PORT NAMESPACE PROGRAM [ARGUMENT...]

The program gets the port of a tap in front of the server at PORT, and NAMESPACE, as its last arguments. It tells of its
own checks with lines `PASS name` and `FAIL name: why`, and asks for what it can't see or do itself with these lines,
each answered with `done` on its standard input:

    @arrived   both instances are registered: from now on nobody may miss one of them
    @polls     answered `done N`: the list requests that the client has sent so far
    @steady    waits until the instances must have lived by their beats, and checks that they did
    @restart   has the server killed and started again (by `@kill` and `@start` of this process, see tests/interop/run)
    @settled   waits until beats must have counted again, and checks that nobody saw or did anything unusual
    @beat 7001 waits for the next answered beat of that instance, so that the one after it is seconds away: a full beat
               that is under way while its client deregisters the instance brings the instance back

The program ends by itself, with status 0, or when its standard input ends. Needs Python 3.9 and nothing else.
"""

import asyncio
import sys
import time

from checks import Checks, that
from lists import Lists
from tap import MAX_MESSAGE_BYTES, Tap

SERVICE = "INTEROP_GROUP@@interop.Greeter:1.0"
ONE, TWO = 7001, 7002
CLUSTERS = {ONE: "c1", TWO: "c2"}

# More than the 15 s after which an instance without beats turns unhealthy.
WATCH_BEFORE_S = 21
WATCH_AFTER_S = 17
DOWN_S = 2
START_LIMIT_S = 10
# Clients beat every 5 s.
BEAT_LIMIT_S = 15


class Witness:
    def __init__(self, port, namespace):
        self.checks = Checks()
        self.tap = Tap(port)
        self.lists = Lists(port, namespace, SERVICE)
        self.namespace = namespace
        self.polling = None
        self.arrived_at = self.killed_at = self.started_at = self.served_at = 0.0
        self.settled = False

    async def run(self, command):
        await self.tap.listen()
        program = await asyncio.create_subprocess_exec(
            *command, str(self.tap.port), self.namespace, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, limit=MAX_MESSAGE_BYTES)
        steps = {"@arrived": self.arrive, "@polls": self.polls, "@steady": self.steady, "@restart": self.restart,
                 "@settled": self.settle, "@beat": self.beat}
        while raw := await program.stdout.readline():
            line = raw.decode("utf-8", "replace").rstrip()
            name, _, argument = line.partition(" ")
            if name in steps:
                answer = await steps[name](*argument.split())
                program.stdin.write(f"done {answer}\n".encode() if answer is not None else b"done\n")
                await program.stdin.drain()
            else:
                self.checks.line(line)
        status = await program.wait()
        self.checks.check("story_runs_to_its_end", lambda: that(
            status == 0 and self.settled, f"the program ended with status {status}, settled: {self.settled}"))
        self.checks.totals()
        return self.checks.failed == 0

    async def arrive(self):
        self.arrived_at = time.monotonic()
        self.polling = asyncio.ensure_future(self.lists.poll_for_ever())

    async def polls(self):
        return sum(one.is_list for one in self.tap.exchanges)

    async def steady(self):
        await sleep_until(self.arrived_at + WATCH_BEFORE_S)
        # The reference shows a write up to 100 ms after its answer, and so may any server.
        seen = self.lists.between(self.arrived_at + 0.3, time.monotonic())
        self.checks.check("healthy_for_20_s_by_beats", lambda: all_complete(seen))
        self.checks.check("every_beat_is_answered_10200", lambda: self.beats_counted(self.arrived_at))

    async def restart(self):
        before = self.lists.answers[-1]
        self.killed_at = time.monotonic()
        # Shut until the first list has been seen: what is in it was brought back by the server, not by a beat.
        self.tap.shut()
        await ask_frame("@kill")
        dead_at = time.monotonic()
        await asyncio.sleep(DOWN_S)
        self.started_at = time.monotonic()
        await ask_frame("@start")
        while not self.lists.first_since(self.started_at) and time.monotonic() < self.started_at + START_LIMIT_S:
            await asyncio.sleep(0.01)
        first = self.lists.first_since(self.started_at)
        self.tap.open()
        self.served_at = first.at if first else time.monotonic()
        down = self.lists.between(dead_at, self.served_at)
        self.checks.check("nobody_is_answered_while_it_is_down_or_starting", lambda: only_refused(down))
        self.checks.check("serves_again", lambda: that(first, f"no list within {START_LIMIT_S} s"))
        self.checks.line(f"   first list {(self.served_at - self.started_at) * 1000:.0f} ms after the start")
        self.checks.check("first_list_is_as_before_the_kill", lambda: same_hosts(before, first))

    async def settle(self):
        await sleep_until(self.served_at + WATCH_AFTER_S)
        seen = self.lists.between(self.served_at, time.monotonic())
        self.checks.check("no_short_list_after_restart", lambda: all_complete(seen))
        self.checks.check("client_was_served_no_short_list_after_restart", self.client_lists_complete)
        self.checks.check("no_beat_is_answered_20404_after_restart", lambda: self.beats_counted(self.killed_at))
        self.checks.check("nobody_registers_again", self.nobody_registered)
        # They leave next.
        self.polling.cancel()
        self.settled = True

    async def beat(self, port):
        asked_at = time.monotonic()
        while not self.tap.since(asked_at, lambda one: one.is_beat and one.port == int(port)):
            if time.monotonic() >= asked_at + BEAT_LIMIT_S:
                self.checks.check("instance_beats", lambda: that(False, f"no beat of port {port} in {BEAT_LIMIT_S} s"))
                return
            await asyncio.sleep(0.02)

    def beats_counted(self, since):
        """Each of the two has sent at least two beats, and every answer has code 10200."""
        for port in (ONE, TWO):
            beats = self.tap.since(since, lambda one: one.is_beat and one.port == port)
            for beat in beats:
                that(beat.status == 200 and '"code":10200' in beat.answer, beat)
            that(len(beats) >= 2, f"only {len(beats)} answered beats of port {port}")

    def client_lists_complete(self):
        of_ours = self.tap.since(self.killed_at, lambda one: one.is_list and one.service == SERVICE
                                 and one.parameters.get("namespaceId") == self.namespace)
        that(of_ours, "the client asked for no list")
        for one in of_ours:
            clusters = one.parameters.get("clusters", "")
            for port, cluster in CLUSTERS.items():
                if clusters in ("", "None") or cluster in clusters.split(","):
                    that(f'"port":{port},' in one.answer, one)

    def nobody_registered(self):
        # Unanswered tries count too.
        again = [one for one in self.tap.exchanges
                 if one.at >= self.killed_at and one.is_registration and one.port in (ONE, TWO)]
        that(not again, f"{len(again)} registrations, the first {again[:1]}")


def all_complete(answers):
    wrong = [one for one in answers if one.lacks((ONE, TWO))]
    that(not wrong, f"{len(wrong)} of {len(answers)} answers short or not healthy, the first {wrong[:1]}")
    that(len(answers) >= 150, f"only {len(answers)} answers")


def only_refused(answers):
    that(answers, "the poller saw nothing")
    wrong = [one for one in answers if one.status]
    that(not wrong, f"{wrong[:1]}")


def same_hosts(before, after):
    that(not before.lacks((ONE, TWO)), f"before the kill already: {before}")
    that(after, "no list")
    # In order too: some clients compare lists in order, and each difference is a change to their application.
    that(before.hosts == after.hosts, f"before {before}, after {after}")


async def sleep_until(at):
    await asyncio.sleep(max(0, at - time.monotonic()))


async def ask_frame(line):
    print(line, flush=True)
    answer = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    if answer.strip() != "done":
        raise SystemExit(f"{line} was answered {answer!r}")


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(Witness(int(sys.argv[1]), sys.argv[2]).run(sys.argv[3:])) else 1)
