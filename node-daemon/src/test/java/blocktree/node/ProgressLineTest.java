package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class ProgressLineTest {
    private static final long MIB = 1 << 20;
    private static final long SECOND = 1_000_000_000L;

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final AtomicLong now = new AtomicLong(5 * SECOND);

    private ProgressLine line(boolean watched) {
        return new ProgressLine(watched, new PrintStream(bytes, true, StandardCharsets.UTF_8), now::get);
    }

    private String taken() {
        String text = bytes.toString(StandardCharsets.UTF_8);
        bytes.reset();
        return text;
    }

    @Test
    void showsRateAndTimeLeftAfterTwoSecondsAndGoes() {
        try (ProgressLine line = line(true)) {
            now.addAndGet(SECOND);
            line.show("checked", 100 * MIB, 1000 * MIB);
            assertEquals("", taken(), "within two seconds");
            now.addAndGet(SECOND);
            line.show("checked", 200 * MIB, 1000 * MIB);
            assertEquals("\r\033[Kchecked  200 MiB of about 1,000 (20 %)  100 MiB/s  8 s left", taken());
            line.show("checked", 210 * MIB, 1000 * MIB);
            assertEquals("", taken(), "not at every call");
            now.addAndGet(SECOND);
            line.show("checked", 1100 * MIB, 1000 * MIB);
            assertEquals("\r\033[Kchecked  1,100 MiB of about 1,000 (99 %)  367 MiB/s", taken());
        }
        assertEquals("\r\033[K", taken());
    }

    @Test
    void saysForHowLongSomethingIsBeingDoneUntilItIsDone() throws Exception {
        ProgressLine line = line(true).tick("waiting");
        Thread.sleep(1000);
        assertEquals("", taken(), "within two seconds");
        now.addAndGet(3 * SECOND);
        Thread.sleep(1500);
        assertEquals("\r\033[Kwaiting  3 s", taken());
        line.close();
        assertEquals("\r\033[K", taken());
        Thread.sleep(1200);
        assertEquals("", taken(), "closed");
    }

    @Test
    void isQuietWhereNobodyWatches() throws Exception {
        try (ProgressLine line = line(false)) {
            now.addAndGet(60 * SECOND);
            line.show("checked", MIB, 0);
            line.show("checked");
            line.tick("checked");
            Thread.sleep(2500);
        }
        assertEquals("", taken());
    }
}
