package blocktree.btmsg;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The control protocol over a pair of streams, for a parent process. Besides replies it carries events; a parent that does
 * not read loses events, never the node's time.
 */
public final class StreamControlServer implements AutoCloseable, ControlSession.Outlet {
    private static final int EVENTS_WAITING_MAX = 4096;
    private static final int BUFFER_SIZE_BYTES = 16 << 10;

    private final InputStream in;
    private final OutputStream out; // guarded by this
    private final ExecutorService workers = ControlServer.newWorkers();
    private final ControlSession session;
    private final Object drained = new Object();
    /** Empty: the end. */
    private final BlockingQueue<Optional<ControlEvent>> events = new ArrayBlockingQueue<>(EVENTS_WAITING_MAX);

    private final AtomicLong eventsLost = new AtomicLong();
    private final Thread eventWriter = new Thread(this::writeEvents, "control-events");

    public StreamControlServer(InputStream in, OutputStream out, ControlHandler handler) {
        this.in = in;
        this.out = out;
        this.session = new ControlSession(handler, workers, this, this::wakeReader);
        eventWriter.setDaemon(true);
        eventWriter.start();
    }

    /** Serves until the stream ends. An exception says that the parent did not keep to the protocol. */
    public void serve() throws IOException {
        FrameDecoder decoder = new FrameDecoder();
        byte[] buffer = new byte[BUFFER_SIZE_BYTES];
        int count;
        while ((count = in.read(buffer)) >= 0) {
            ByteBuffer bytes = ByteBuffer.wrap(buffer, 0, count);
            byte[] frame;
            while ((frame = decoder.next(bytes)) != null) {
                awaitRoom();
                session.received(frame);
            }
        }
    }

    /** Tells the parent, soon and never at the cost of the caller: when too many wait, the event is lost and counted. */
    public void publish(ControlEvent event) {
        if (!events.offer(Optional.of(event))) {
            eventsLost.incrementAndGet();
        }
    }

    public long eventsLostCount() {
        return eventsLost.get();
    }

    private void awaitRoom() throws ControlException {
        synchronized (drained) {
            while (session.isSaturated()) {
                try {
                    drained.wait();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw new ControlException(ControlException.Code.CLOSED, "interrupted");
                }
            }
        }
    }

    private void wakeReader() {
        synchronized (drained) {
            drained.notifyAll();
        }
    }

    private void writeEvents() {
        try {
            for (Optional<ControlEvent> event = events.take(); event.isPresent(); event = events.take()) {
                send(ControlCodec.encode(event.get()));
            }
        } catch (InterruptedException | ControlException e) {
            // The server closes, or the parent does not listen any more.
        }
    }

    @Override
    public synchronized void send(byte[] frame) throws ControlException {
        try {
            out.write(frame);
            out.flush();
        } catch (IOException e) {
            throw new ControlException(ControlException.Code.CLOSED, "the parent does not read: " + e.getMessage());
        }
    }

    /** Sends the events that wait, unless the parent does not read them within a second. */
    @Override
    public void close() {
        ControlServer.endWorkers(workers);
        try {
            if (events.offer(Optional.empty(), 1, TimeUnit.SECONDS)) {
                eventWriter.join(1_000);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        eventWriter.interrupt();
    }
}
