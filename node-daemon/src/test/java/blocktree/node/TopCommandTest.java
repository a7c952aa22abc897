package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;

import blocktree.btmsg.ControlReply;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class TopCommandTest {
    private static ControlReply.Status status(ControlReply.Latency... latencies) {
        return new ControlReply.Status(
                "1", 1, 0, "t", "p", "/d", "running", List.of(), Map.of(), List.of(10L, 100L), List.of(latencies));
    }

    @Test
    void showsWhatHappenedBetweenTwoLooks() {
        ControlReply.Status before = status(
                new ControlReply.Latency("fuse.read", 1, 1_000, List.of(10L, 0L, 0L)),
                new ControlReply.Latency("fuse.write", 0, 50, List.of(5L, 0L, 0L)));
        ControlReply.Status now = status(
                new ControlReply.Latency("fuse.read", 3, 3_000, List.of(50L, 50L, 10L)),
                new ControlReply.Latency("fuse.write", 0, 50, List.of(5L, 0L, 0L)),
                new ControlReply.Latency("fuse.open", 0, 20, List.of(2L, 0L, 0L)), // not seen before
                new ControlReply.Latency("fuse.flush", 0, 600, List.of(0L, 0L, 6L)));
        assertEquals(
                List.of(
                        new TopCommand.Activity("fuse.read", 50, 2, 20, 100, Long.MAX_VALUE),
                        new TopCommand.Activity("fuse.flush", 3, 0, 100, Long.MAX_VALUE, Long.MAX_VALUE),
                        new TopCommand.Activity("fuse.open", 1, 0, 10, 10, 10)),
                TopCommand.Activity.between(before, now, 2.0));
    }
}
