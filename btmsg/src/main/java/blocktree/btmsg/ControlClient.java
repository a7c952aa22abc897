package blocktree.btmsg;

import blocktree.btmsg.ControlException.Code;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/**
 * A client of a node's control protocol, on plain JDK channels so that a command line starts fast. Thread-safe; requests may
 * overlap.
 */
public final class ControlClient implements AutoCloseable {
    private static final int BUFFER_SIZE_BYTES = 16 << 10;

    /** The way to the node: writes a whole frame, and at once. */
    private interface Outlet extends Closeable {
        void write(byte[] frame) throws IOException;
    }

    private record Call(Consumer<ControlReply> parts, CompletableFuture<ControlReply> last) {}

    private final ReadableByteChannel in;
    private final Outlet out; // guarded by itself
    private final Consumer<ControlEvent> events;
    private final Map<Long, Call> calls = new ConcurrentHashMap<>();
    private final AtomicLong lastId = new AtomicLong();
    private final CountDownLatch closed = new CountDownLatch(1);
    private volatile String closedReason = "the node has closed the connection";

    private ControlClient(ReadableByteChannel in, Outlet out, Consumer<ControlEvent> events) {
        this.in = in;
        this.out = out;
        this.events = events;
        Thread reader = new Thread(this::read, "control-reader");
        reader.setDaemon(true);
        reader.start();
    }

    /** Connects to the socket of a node. */
    public static ControlClient connect(Path socket) throws IOException {
        SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        try {
            channel.connect(UnixDomainSocketAddress.of(socket));
        } catch (IOException e) {
            channel.close();
            throw e;
        }
        Outlet outlet = new Outlet() {
            @Override
            public void write(byte[] frame) throws IOException {
                ByteBuffer bytes = ByteBuffer.wrap(frame);
                while (bytes.hasRemaining()) {
                    channel.write(bytes);
                }
            }

            @Override
            public void close() throws IOException {
                channel.close();
            }
        };
        return new ControlClient(channel, outlet, event -> {});
    }

    /** Speaks to a child process through its standard streams. {@code events} is called on the thread that reads. */
    public static ControlClient over(InputStream fromNode, OutputStream toNode, Consumer<ControlEvent> events) {
        Outlet outlet = new Outlet() {
            @Override
            public void write(byte[] frame) throws IOException {
                toNode.write(frame);
                toNode.flush(); // a process's stream is buffered
            }

            @Override
            public void close() throws IOException {
                toNode.close();
            }
        };
        return new ControlClient(Channels.newChannel(fromNode), outlet, events);
    }

    /** Greets the node; to be called once, before any other request. Fails with VERSION when the node speaks another. */
    public ControlReply.Welcome greet(Duration timeout) throws ControlException {
        ControlReply reply = call(new ControlRequest.Hello(ControlCodec.PROTOCOL_VERSION), timeout);
        if (reply instanceof ControlReply.Welcome welcome) {
            return welcome;
        }
        String found = reply instanceof ControlReply.Failed failed ? failed.found() : reply.toString();
        throw new ControlException(Code.VERSION, found);
    }

    /** The last reply to {@code request}, which may be {@link ControlReply.Failed}. */
    public ControlReply call(ControlRequest request, Duration timeout) throws ControlException {
        return call(request, timeout, part -> {});
    }

    /** @param parts is called with the replies before the last, on the thread that reads; while it blocks, nothing is read */
    public ControlReply call(ControlRequest request, Duration timeout, Consumer<ControlReply> parts)
            throws ControlException {
        long id = lastId.incrementAndGet();
        CompletableFuture<ControlReply> last = new CompletableFuture<>();
        calls.put(id, new Call(parts, last));
        try {
            send(ControlCodec.encode(id, request));
            return last.get(timeout.toNanos(), TimeUnit.NANOSECONDS);
        } catch (ExecutionException e) {
            throw new ControlException(Code.CLOSED, closedReason);
        } catch (TimeoutException e) {
            throw new ControlException(Code.TIMED_OUT, "the node did not answer within " + timeout.toMillis() + " ms");
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ControlException(Code.CLOSED, "interrupted");
        } finally {
            calls.remove(id);
        }
    }

    /** Whether the node has ended the connection within {@code timeout}. */
    public boolean awaitClosed(Duration timeout) throws InterruptedException {
        return closed.await(timeout.toMillis(), TimeUnit.MILLISECONDS);
    }

    private void send(byte[] frame) throws ControlException {
        synchronized (out) {
            try {
                out.write(frame);
            } catch (IOException e) {
                throw new ControlException(Code.CLOSED, "the node does not listen: " + e.getMessage());
            }
            // A call that was registered after the reader had ended would wait in vain.
            if (closed.getCount() == 0) {
                throw new ControlException(Code.CLOSED, closedReason);
            }
        }
    }

    private void read() {
        FrameDecoder decoder = new FrameDecoder();
        ByteBuffer buffer = ByteBuffer.allocate(BUFFER_SIZE_BYTES);
        try {
            while (in.read(buffer.clear()) >= 0) {
                buffer.flip();
                byte[] frame;
                while ((frame = decoder.next(buffer)) != null) {
                    deliver(ControlCodec.decodeMessage(frame));
                }
            }
        } catch (IOException e) {
            closedReason = String.valueOf(e.getMessage());
        } finally {
            closed.countDown();
            calls.values()
                    .forEach(
                            call -> call.last().completeExceptionally(new ControlException(Code.CLOSED, closedReason)));
        }
    }

    private void deliver(ControlCodec.Message message) {
        if (message instanceof ControlCodec.Event event) {
            events.accept(event.event());
        } else if (message instanceof ControlCodec.Reply reply) {
            Call call = calls.get(reply.id());
            if (call == null) {
                return; // its caller has given up
            }
            if (reply.reply().isLast()) {
                call.last().complete(reply.reply());
            } else {
                call.parts().accept(reply.reply());
            }
        }
    }

    @Override
    public void close() throws IOException {
        in.close();
        out.close();
    }
}
