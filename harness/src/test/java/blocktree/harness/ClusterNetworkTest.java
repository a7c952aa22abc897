package blocktree.harness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Namespaces, and programs in them that send each other something. */
class ClusterNetworkTest {
    private static final Duration SOON = Duration.ofSeconds(20);

    /** Answers each datagram to port 9, and writes down that it came. */
    private static final String ECHO = """
            import socket, sys
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("0.0.0.0", 9))
            arrived = open(sys.argv[1], "a", buffering=1)
            while True:
                data, peer = s.recvfrom(2000)
                arrived.write(data.decode()[:20] + "\\n")
                s.sendto(data, peer)
            """;

    /** Sends some datagrams, and prints how many came back, and in how many milliseconds. */
    private static final String ASK = """
            import socket, sys, time
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.settimeout(0.7)
            begun = time.monotonic()
            came = 0
            for _ in range(int(sys.argv[3])):
                s.sendto(sys.argv[2].ljust(1200).encode(), (sys.argv[1], 9))
                try:
                    s.recvfrom(2000)
                    came += 1
                except TimeoutError:
                    pass
            print(came, int((time.monotonic() - begun) * 1000))
            """;

    @TempDir
    Path folder;

    private ClusterNetwork network;
    private final List<Process> started = new ArrayList<>();

    @BeforeEach
    void make() throws Exception {
        network = ClusterNetwork.create();
        for (int node = 0; node < 3; node++) {
            assertEquals(node, network.add());
            Files.createFile(arrived(node));
            List<String> command = new ArrayList<>(
                    network.inside(node, new NodeProgram(List.of("python3"))).command());
            command.addAll(List.of("-c", ECHO, arrived(node).toString()));
            started.add(new ProcessBuilder(command).inheritIO().start());
        }
        for (int node = 0; node < 3; node++) {
            for (int i = 0; ask((node + 1) % 3, node, "up", 1)[0] == 0; i++) {
                assertTrue(i < 20, "node " + node + " does not answer");
            }
        }
    }

    @AfterEach
    void end() {
        started.forEach(Process::destroyForcibly);
        network.close();
    }

    private Path arrived(int node) {
        return folder.resolve("arrived" + node);
    }

    /** How many answers, and milliseconds. */
    private int[] ask(int from, int to, String what, int count) throws Exception {
        List<String> command = new ArrayList<>(
                network.inside(from, new NodeProgram(List.of("python3"))).command());
        command.addAll(List.of("-c", ASK, network.address(to), what, Integer.toString(count)));
        String[] words =
                NodeDirectory.execute(command, SOON).orThrow().output().strip().split(" ");
        return new int[] {Integer.parseInt(words[0]), Integer.parseInt(words[1])};
    }

    private boolean hasArrived(int node, String what) throws Exception {
        return Files.readAllLines(arrived(node)).stream()
                .anyMatch(line -> line.strip().equals(what));
    }

    @Test
    void whatIsCutVanishesOneWay() throws Exception {
        network.cut(0, 1);
        network.cut(0, 1);
        assertEquals(0, ask(0, 1, "there", 1)[0]);
        assertFalse(hasArrived(1, "there"));
        assertEquals(0, ask(1, 0, "back", 1)[0]);
        assertTrue(hasArrived(0, "back"), "the other way");
        assertEquals(1, ask(0, 2, "aside", 1)[0]);
        network.heal(0, 1);
        network.heal(0, 1);
        assertEquals(1, ask(0, 1, "healed", 1)[0]);
    }

    @Test
    void whoIsIsolatedReachesNobody() throws Exception {
        network.isolate(1);
        assertEquals(0, ask(1, 0, "out", 1)[0]);
        assertEquals(0, ask(2, 1, "in", 1)[0]);
        assertFalse(hasArrived(0, "out"));
        assertFalse(hasArrived(1, "in"));
        assertEquals(1, ask(0, 2, "others", 1)[0]);
        network.healAll();
        assertEquals(1, ask(1, 0, "healed", 1)[0]);
    }

    @Test
    void aNarrowLineTakesItsTime() throws Exception {
        int[] wide = ask(0, 1, "wide", 200);
        assertEquals(200, wide[0]);
        network.limitBandwidth(1, 1_000_000);
        int[] narrow = ask(0, 1, "narrow", 200); // 1.9 Mbit each way, of which half a Mbit at once
        assertEquals(200, narrow[0]);
        assertTrue(narrow[1] > 1_000, () -> narrow[1] + " ms");
        network.limitBandwidth(1, 8_000_000);
        network.healAll();
        assertEquals(200, ask(0, 1, "wide", 200)[0]);
    }

    @Test
    void nothingIsLeft() throws Exception {
        String mark = "btcluster-" + ProcessHandle.current().pid() + "-";
        assertTrue(names().stream().anyMatch(name -> name.startsWith(mark)));
        network.close();
        network.close();
        assertEquals(
                List.of(),
                names().stream().filter(name -> name.startsWith(mark)).toList());
    }

    @Test
    void whatAKilledProcessHasLeftIsRemoved() throws Exception {
        String left = "btcluster-" + Integer.MAX_VALUE + "-1-router"; // there is no such process
        NodeDirectory.execute(List.of("ip", "netns", "add", left), SOON).orThrow();
        ClusterNetwork.create().close();
        assertFalse(names().contains(left));
    }

    private static List<String> names() throws Exception {
        try (var paths = Files.list(Path.of("/run/netns"))) {
            return paths.map(path -> path.getFileName().toString()).toList();
        }
    }
}
