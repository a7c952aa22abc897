package blocktree.btmsg;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.ByteString;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class ControlCodecTest {
    private static final ControlMount MOUNT =
            new ControlMount("/mnt/tree", true, false, "a/b", true, false, true, true, true, true, "libfuse3");

    private static final ByteString BYTES = ByteString.copyFromUtf8("bytes");

    static List<ControlRequest> requests() {
        return List.of(
                new ControlRequest.Hello(7),
                new ControlRequest.Status(),
                new ControlRequest.Mount(MOUNT),
                new ControlRequest.Unmount("/mnt/ö", true),
                new ControlRequest.SnapshotCreate("before the move"),
                new ControlRequest.SnapshotList(),
                new ControlRequest.SnapshotDelete("x"),
                new ControlRequest.Fsck(true, true),
                new ControlRequest.Scrub(),
                new ControlRequest.Sync(),
                new ControlRequest.Key(),
                new ControlRequest.Stop(true),
                new ControlRequest.Invite(3_600_000, true, false),
                new ControlRequest.Admit("i", BYTES, List.of(BYTES, BYTES), "no"),
                new ControlRequest.Nodes(),
                new ControlRequest.Locks(),
                new ControlRequest.Lock("a/b", true, -1, 42),
                new ControlRequest.SetVoter("laptop", true),
                new ControlRequest.Retire("p", List.of(new ControlRequest.Record(6, BYTES))),
                new ControlRequest.AppendAuthority(List.of(new ControlRequest.Record(6, BYTES)), 17));
    }

    static List<ControlReply> replies() {
        return List.of(
                new ControlReply.Welcome(1, "0.1", 42, "t"),
                new ControlReply.Done(),
                new ControlReply.Failed(4, "a", "b", "c"),
                new ControlReply.Status(
                        "0.1",
                        42,
                        5,
                        "t",
                        "p",
                        "/data",
                        "running",
                        List.of(MOUNT),
                        Map.of("x", 1L, "y", -1L),
                        List.of(1000L),
                        List.of(new ControlReply.Latency("fuse.read", 1, 5000, List.of(2L, 3L)))),
                new ControlReply.Snapshots(List.of(new ControlReply.Snapshot("n", "i", 3, 4))),
                new ControlReply.Key("t", "p", "file"),
                new ControlReply.Progress("sectors", 3, 9),
                new ControlReply.Finding("error", "sector_corrupt", "b", "d", true),
                new ControlReply.Checked(Map.of("blocks", 3L)),
                new ControlReply.Invited("i", "CODE", 5),
                new ControlReply.JoinAsked("i", BYTES, "laptop"),
                new ControlReply.Locks(
                        List.of(new ControlReply.FileLock(5, "flock", 0, Long.MAX_VALUE, true, "p", "n", 7, 8)),
                        List.of("q")),
                new ControlReply.Nodes(List.of(new ControlReply.NodeState(
                        "p",
                        "laptop",
                        List.of("127.0.0.1:9274"),
                        true,
                        true,
                        false,
                        true,
                        1,
                        -2,
                        -1,
                        "btnode 1",
                        true,
                        7))));
    }

    @ParameterizedTest
    @MethodSource("requests")
    void requestsComeBackAsTheyWere(ControlRequest request) throws ControlException {
        assertEquals(
                new ControlCodec.Request(99, request),
                ControlCodec.decodeRequest(body(ControlCodec.encode(99, request))));
    }

    @ParameterizedTest
    @MethodSource("replies")
    void repliesComeBackAsTheyWere(ControlReply reply) throws ControlException {
        assertEquals(
                new ControlCodec.Reply(1L << 40, reply),
                ControlCodec.decodeMessage(body(ControlCodec.encode(1L << 40, reply))));
    }

    @Test
    void eventsKeepTheOrderOfTheirFields() throws ControlException {
        Map<String, String> fields = new LinkedHashMap<>();
        fields.put("z", "1");
        fields.put("a", "2");
        ControlEvent event = new ControlEvent(12, "INFO", "node_ready", fields);
        ControlCodec.Event decoded = (ControlCodec.Event) ControlCodec.decodeMessage(body(ControlCodec.encode(event)));
        assertEquals(event, decoded.event());
        assertEquals(List.of("z", "a"), List.copyOf(decoded.event().fields().keySet()));
    }

    @Test
    void theListsAboveAreComplete() {
        assertEquals(Set.of(ControlRequest.class.getPermittedSubclasses()), classes(requests().stream()));
        assertEquals(Set.of(ControlReply.class.getPermittedSubclasses()), classes(replies().stream()));
    }

    @Test
    void refusesWhatIsNotAMessage() {
        assertThrows(ControlException.class, () -> ControlCodec.decodeRequest(new byte[] {1, 2, 3}));
        assertThrows(ControlException.class, () -> ControlCodec.decodeRequest(new byte[0]));
        assertThrows(ControlException.class, () -> ControlCodec.decodeMessage(new byte[] {1, 2, 3}));
        assertThrows(ControlException.class, () -> ControlCodec.decodeMessage(new byte[0]));
    }

    private static Set<Class<?>> classes(Stream<?> values) {
        Set<Class<?>> classes = new HashSet<>();
        values.forEach(value -> classes.add(value.getClass()));
        return classes;
    }

    /** Without the length. */
    static byte[] body(byte[] frame) throws ControlException {
        byte[] body = new FrameDecoder().next(ByteBuffer.wrap(frame));
        assertNotNull(body);
        assertNull(new FrameDecoder().next(ByteBuffer.wrap(Arrays.copyOf(frame, frame.length - 1))));
        return body;
    }
}
