package blocktree.btmsg;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedOutputStream;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.Pipe;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class StreamControlServerTest {
    private static final Duration TIMEOUT = Duration.ofSeconds(20);

    private final ControlHandler handler = new ControlHandler() {
        @Override
        public ControlReply.Welcome welcome() {
            return new ControlReply.Welcome(ControlCodec.PROTOCOL_VERSION, "test", 1, "tree");
        }

        @Override
        public ControlReply handle(ControlRequest request, Stream stream) {
            return new ControlReply.Done();
        }
    };

    @Test
    void answersPublishesEventsAndEndsWithTheStream() throws Exception {
        Pipe toNode = Pipe.open();
        Pipe fromNode = Pipe.open();
        BlockingQueue<ControlEvent> events = new LinkedBlockingQueue<>();
        try (StreamControlServer server = new StreamControlServer(
                Channels.newInputStream(toNode.source()), Channels.newOutputStream(fromNode.sink()), handler)) {
            CompletableFuture<Void> served = CompletableFuture.runAsync(() -> serve(server));
            ControlClient client = ControlClient.over(
                    Channels.newInputStream(fromNode.source()),
                    new BufferedOutputStream(Channels.newOutputStream(toNode.sink())), // as a process's is
                    events::add);
            assertEquals("tree", client.greet(TIMEOUT).tree());
            assertEquals(new ControlReply.Done(), client.call(new ControlRequest.Status(), TIMEOUT));

            ControlEvent event = new ControlEvent(5, "INFO", "node_ready", Map.of("mount", "/mnt"));
            server.publish(event);
            assertEquals(event, events.poll(20, TimeUnit.SECONDS));

            toNode.sink().close();
            served.get(20, TimeUnit.SECONDS);
        }
    }

    @Test
    void whatWasPublishedBeforeTheEndIsSentBeforeTheEnd() throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        StreamControlServer server = new StreamControlServer(InputStream.nullInputStream(), out, handler);
        for (int i = 0; i < 1000; i++) {
            server.publish(new ControlEvent(i, "INFO", "e", Map.of()));
        }
        server.close();
        FrameDecoder decoder = new FrameDecoder();
        ByteBuffer bytes = ByteBuffer.wrap(out.toByteArray());
        int count = 0;
        while (decoder.next(bytes) != null) {
            count++;
        }
        assertEquals(1000, count);
    }

    @Test
    void aParentThatDoesNotReadLosesEventsAndCostsNoTime() {
        OutputStream never = new OutputStream() {
            @Override
            public synchronized void write(int b) throws IOException {
                try {
                    wait();
                } catch (InterruptedException e) {
                    throw new IOException(e);
                }
            }
        };
        try (StreamControlServer server = new StreamControlServer(InputStream.nullInputStream(), never, handler)) {
            for (int i = 0; i < 10_000; i++) {
                server.publish(new ControlEvent(i, "INFO", "e", Map.of()));
            }
            assertTrue(server.eventsLostCount() > 5_000, "lost " + server.eventsLostCount());
        }
    }

    @Test
    void refusesGarbage() {
        StreamControlServer server = new StreamControlServer(
                new ByteArrayInputStream(new byte[] {2, 1, 1}), new ByteArrayOutputStream(), handler);
        assertThrows(ControlException.class, server::serve);
        server.close();
    }

    @Test
    void endsTheSessionOfAParentWhoseHelloWasRefused() throws Exception {
        Pipe toNode = Pipe.open();
        Pipe fromNode = Pipe.open();
        try (StreamControlServer server = new StreamControlServer(
                        Channels.newInputStream(toNode.source()), Channels.newOutputStream(fromNode.sink()), handler);
                OutputStream parent = Channels.newOutputStream(toNode.sink());
                InputStream answers = Channels.newInputStream(fromNode.source())) {
            CompletableFuture<ControlException> served =
                    CompletableFuture.supplyAsync(() -> assertThrows(ControlException.class, server::serve));
            parent.write(ControlCodec.encode(1, new ControlRequest.Hello(ControlCodec.PROTOCOL_VERSION + 1)));
            byte[] buffer = new byte[1000];
            ByteBuffer answer = ByteBuffer.wrap(buffer, 0, answers.read(buffer));
            byte[] frame = Objects.requireNonNull(new FrameDecoder().next(answer));
            assertTrue(ControlCodec.decodeMessage(frame).toString().contains("Failed"));

            parent.write(ControlCodec.encode(2, new ControlRequest.Status()));
            assertEquals(
                    ControlException.Code.VERSION,
                    served.get(20, TimeUnit.SECONDS).code());
        }
    }

    private static void serve(StreamControlServer server) {
        try {
            server.serve();
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }
}
