package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.fuse.KnownNames.Known;
import blocktree.tree.FileSystem.RenameMode;
import blocktree.tree.Name;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** Which names the kernel may use. */
class KnownNamesTest {
    private static final long MINUTE = TimeUnit.MINUTES.toNanos(1);

    /** Over for longer than anybody takes to take an answer. */
    private static final long OVER = -TimeUnit.MINUTES.toNanos(1);

    private static Name name(String text) {
        return Name.of(text);
    }

    private static Map<String, Long> of(KnownNames names, long directory) {
        Map<String, Long> found = new HashMap<>();
        for (Known known : names.of(directory)) {
            found.put(known.name().plaintext(), known.inode());
        }
        return found;
    }

    @Test
    void theLastThatWasSaidOfANameCounts() {
        KnownNames names = new KnownNames(true, 100);
        assertEquals(MINUTE, names.give(1, name("a"), 0, MINUTE));
        assertEquals(MINUTE, names.give(1, name("a"), 17, MINUTE));
        assertEquals(0, names.give(1, name("b"), 18, 0));
        names.give(2, name("a"), 19, MINUTE);
        assertEquals(Map.of("a", 17L), of(names, 1));
        assertEquals(Map.of("a", 19L), of(names, 2));
        assertEquals(2, names.count());
        Known old = names.of(1).get(0);
        names.give(1, name("a"), 20, MINUTE);
        names.remove(1, old);
        assertEquals(Map.of("a", 20L), of(names, 1));
        names.remove(1, names.of(1).get(0));
        assertEquals(List.of(), names.of(1));
        assertEquals(1, names.count());
    }

    @Test
    void renamesMoveWhatIsKnown() {
        KnownNames names = new KnownNames(true, 100);
        names.give(1, name("a"), 17, MINUTE);
        names.give(2, name("b"), 18, MINUTE);
        names.move(1, name("a"), 2, name("b"), RenameMode.EXCHANGE);
        assertEquals(Map.of("a", 18L), of(names, 1));
        assertEquals(Map.of("b", 17L), of(names, 2));
        names.move(2, name("b"), 1, name("a"), RenameMode.REPLACE);
        assertEquals(Map.of("a", 17L), of(names, 1));
        assertEquals(Map.of(), of(names, 2));
        names.move(1, name("unknown"), 1, name("a"), RenameMode.REPLACE);
        assertEquals(Map.of(), of(names, 1));
        assertEquals(0, names.count());
    }

    @Test
    void thoseThatAreOverGo() {
        KnownNames names = new KnownNames(true, 1 << 20);
        for (int i = 0; i < 100_000; i++) {
            names.give(i % 100, name("n" + i), i, i % 1_000 == 0 ? MINUTE : OVER);
        }
        assertTrue(names.count() < 2_500, names.count() + " are left");
        assertEquals(
                100,
                names.of(0).stream().filter(known -> known.inode() % 1_000 == 0).count());
    }

    @Test
    void noneAreKeptOfATreeThatNobodyShares() {
        KnownNames names = new KnownNames(false, 1);
        assertEquals(MINUTE, names.give(1, name("a"), 17, MINUTE));
        assertEquals(MINUTE, names.give(1, name("b"), 18, MINUTE));
        names.move(1, name("a"), 1, name("c"), RenameMode.REPLACE);
        assertEquals(0, names.count());
    }

    @Test
    void whereThereIsNoRoomTheKernelHasToAsk() {
        KnownNames names = new KnownNames(true, 2_000);
        int kept = 0;
        for (int i = 0; i < 5_000; i++) {
            kept += names.give(1, name("n" + i), i, MINUTE) > 0 ? 1 : 0;
        }
        assertEquals(2_000, kept);
        assertEquals(2_000, names.of(1).size());
    }
}
