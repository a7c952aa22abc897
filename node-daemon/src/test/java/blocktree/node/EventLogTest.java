package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.ControlEvent;
import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.slf4j.Logger;

class EventLogTest {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final LoggerContext context = new LoggerContext();
    private final Logger own = context.getLogger("blocktree.test");
    private final Logger library = context.getLogger("io.library");

    @Test
    void writesOneLineAnEventForPeople() {
        start(EventLog.Format.TEXT);
        own.atInfo().addKeyValue("tree", "abc").addKeyValue("path", "/a b").log("node_ready");
        assertTrue(
                line().matches(
                                "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z INFO  event=node_ready tree=abc path=\"/a b\"\n"),
                line());
    }

    @Test
    void writesOneObjectALineForPrograms() {
        start(EventLog.Format.JSON);
        own.atWarn().addKeyValue("block", "b1").addKeyValue("sector", 7L).log("block_corrupt");
        assertTrue(
                line().matches(
                                "\\{\"time\":\"[^\"]+Z\",\"level\":\"WARN\",\"event\":\"block_corrupt\",\"block\":\"b1\",\"sector\":7}\n"),
                line());
    }

    @Test
    void leavesTimeAndLevelToTheJournal() {
        start(EventLog.Format.JOURNAL);
        own.atError().addKeyValue("block", "b1").log("block_corrupt");
        own.atWarn().log("notify_failed");
        own.atInfo().log("node_ready");
        assertEquals("<3>event=block_corrupt block=b1\n<4>event=notify_failed\n<6>event=node_ready\n", line());
    }

    @Test
    void noValueCanForgeALine() {
        for (EventLog.Format format : EventLog.Format.values()) {
            bytes.reset();
            start(format);
            own.atInfo()
                    .addKeyValue("name", "x\n2026-01-01T00:00:00.000Z INFO  event=node_ready\r\u0085\u001b[2J")
                    .log("e");
            assertEquals(1, line().lines().count(), line());
            assertEquals(-1, line().indexOf('\u001b'));
        }
    }

    @Test
    void aLibrarysMessageComesUnderOneNameAndOnlyFromWarningsOn() {
        start(EventLog.Format.TEXT);
        library.info("hello there");
        library.warn("Something is odd");
        assertTrue(
                line().endsWith("WARN  event=library_message logger=io.library message=\"Something is odd\"\n"),
                line());
        assertEquals(1, line().lines().count());
    }

    @Test
    void anErrorsStackStaysOnTheLine() {
        start(EventLog.Format.TEXT);
        own.atError()
                .setCause(new IllegalStateException("bad", new RuntimeException("worse")))
                .log("flush_failed");
        assertEquals(1, line().lines().count(), line());
        assertTrue(line().contains("bad") && line().contains("caused by java.lang.RuntimeException: worse"), line());
    }

    @Test
    void tellsAListenerWhatIsInfoOrAbove() {
        List<ControlEvent> events = new ArrayList<>();
        start(EventLog.Format.TEXT).listen(events::add);
        own.atDebug().log("quiet");
        own.atInfo().addKeyValue("a", 1).log("loud");
        assertEquals(1, events.size());
        assertEquals("loud", events.get(0).name());
        assertEquals(Map.of("a", "1"), events.get(0).fields());
        assertFalse(line().contains("quiet"));
    }

    private EventLog start(EventLog.Format format) {
        return EventLog.start(context, new PrintStream(bytes, true, StandardCharsets.UTF_8), format, Level.INFO);
    }

    private String line() {
        return bytes.toString(StandardCharsets.UTF_8);
    }
}
