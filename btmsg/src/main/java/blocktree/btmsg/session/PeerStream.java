package blocktree.btmsg.session;

import blocktree.btmsg.session.MessageException.Code;
import io.netty.buffer.ByteBuf;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Bytes in order, in both directions, between a service and a peer. One thread may write while another reads. Both wait for the other
 * side, each time no longer than the stream's patience, then TIMED_OUT.
 */
public final class PeerStream implements AutoCloseable {

    /** Written and not handed to the connection yet: enough to keep it busy. */
    private static final int UNSENT_SIZE_BYTES_MAX = 2 * StreamLane.FRAME_SIZE_BYTES_MAX;

    /** Smaller pieces are copied together, so that a buffer that is kept for few bytes does not cost many. */
    private static final int PIECE_SIZE_BYTES_MIN = 4 << 10;

    /** Of the buffer that a piece is part of: smaller ones are copied too, so that a window keeps no more than so many times its size. */
    private static final int BUFFER_FACTOR_MAX = 4;

    private final StreamLane lane;
    private final int id;
    private final PeerIdentity peer;
    private final String service;
    private final byte[] header;
    private final Duration patience;

    // all below is guarded by this
    private @Nullable MessageException failure;
    private final Deque<ByteBuf> outbox = new ArrayDeque<>();
    private int credit = StreamLane.WINDOW_SIZE_BYTES;
    private int unsentBytes;
    private boolean ended;
    private boolean endSent;
    private final Deque<ByteBuf> inbox = new ArrayDeque<>();
    private @Nullable ByteBuf collecting;
    private int window = StreamLane.WINDOW_SIZE_BYTES;
    private int unreturned;
    private boolean endReceived;
    private boolean closed;

    PeerStream(StreamLane lane, int id, PeerIdentity peer, String service, byte[] header, Duration patience) {
        this.lane = lane;
        this.id = id;
        this.peer = peer;
        this.service = service;
        this.header = header;
        this.patience = patience;
    }

    int id() {
        return id;
    }

    public PeerIdentity peer() {
        return peer;
    }

    public String service() {
        return service;
    }

    /** What the opener has sent with the opening, not copied. */
    public byte[] header() {
        return header;
    }

    // Writing

    /** Sends all bytes that remain in {@code data}, which is free again when this returns; some may still be on their way then. */
    public void write(ByteBuffer data) throws MessageException, InterruptedException {
        while (data.hasRemaining()) {
            int sizeBytes = awaitRoom(data.remaining());
            ByteBuf copy = lane.allocate(sizeBytes);
            int limit = data.limit();
            copy.writeBytes(data.limit(data.position() + sizeBytes));
            data.limit(limit);
            boolean gone;
            synchronized (this) {
                gone = failure != null;
                if (!gone) {
                    outbox.add(copy);
                }
            }
            if (gone) {
                copy.release();
            } else {
                lane.isReady(this);
            }
        }
        check();
    }

    private synchronized int awaitRoom(int wantedBytes) throws MessageException, InterruptedException {
        if (ended) {
            throw new IllegalStateException("the stream's end is written already");
        }
        await(() -> credit > 0 && unsentBytes < UNSENT_SIZE_BYTES_MAX, "the peer takes no more");
        check();
        int sizeBytes = Math.min(Math.min(credit, wantedBytes), StreamLane.FRAME_SIZE_BYTES_MAX);
        credit -= sizeBytes;
        unsentBytes += sizeBytes;
        return sizeBytes;
    }

    /** Nothing more is written; the other direction goes on. */
    public void end() {
        synchronized (this) {
            if (ended || failure != null) {
                return;
            }
            ended = true;
        }
        lane.isReady(this);
    }

    // Reading

    /** What has come next, to be closed; null at the end. What came before its end can be read however the stream went on. */
    public synchronized @Nullable StreamChunk read() throws MessageException, InterruptedException {
        await(() -> !inbox.isEmpty() || endReceived || closed, "the peer sends nothing");
        if (closed || inbox.isEmpty() && !endReceived) {
            check();
            throw new MessageException(Code.CANCELLED, "the stream is closed");
        }
        ByteBuf next = inbox.poll();
        if (next == collecting) {
            collecting = null;
        }
        return next == null ? null : new StreamChunk(this, next);
    }

    void consumed(int sizeBytes) {
        int returned = 0;
        synchronized (this) {
            unreturned += sizeBytes;
            if (unreturned >= StreamLane.WINDOW_SIZE_BYTES / 4 && !endReceived && failure == null) {
                returned = unreturned;
                unreturned = 0;
                window += returned;
            }
        }
        if (returned > 0) {
            lane.sendCredit(id, returned);
        }
    }

    /**
     * Lets the stream go: nothing more is read, and when the end was not written nothing more is sent either. The peer is told of
     * whatever is cut off. Needed once for each stream that this node has opened.
     */
    @Override
    public void close() {
        boolean cutOff;
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
            releaseInbox();
            if (failure != null) {
                return;
            }
            cutOff = !ended;
        }
        if (cutOff) {
            fail(new MessageException(Code.CANCELLED, "the stream is closed"));
            lane.reset(this, Code.CANCELLED);
        } else {
            lane.isReady(this);
        }
    }

    // Called with the monitor held

    private void await(BooleanSupplier condition, String otherwise) throws MessageException, InterruptedException {
        long deadlineNanos = System.nanoTime() + patience.toNanos();
        while (failure == null && !condition.getAsBoolean()) {
            long leftNanos = deadlineNanos - System.nanoTime();
            if (leftNanos <= 0) {
                throw new MessageException(Code.TIMED_OUT, otherwise + " for " + patience.toMillis() + " ms");
            }
            TimeUnit.NANOSECONDS.timedWait(this, leftNanos);
        }
    }

    private synchronized void check() throws MessageException {
        if (failure != null) {
            throw new MessageException(failure.code(), String.valueOf(failure.getMessage()));
        }
    }

    // Called by the lane

    /** The next body to send; empty for the end; null when there is none. */
    synchronized @Nullable ByteBuf nextToSend(ByteBuf end) {
        if (failure != null) {
            return null;
        }
        ByteBuf next = outbox.poll();
        if (next != null) {
            unsentBytes -= next.readableBytes();
            notifyAll();
            return next;
        }
        if (ended && !endSent) {
            endSent = true;
            return end;
        }
        return null;
    }

    synchronized boolean hasMoreToSend() {
        return failure == null && (!outbox.isEmpty() || ended && !endSent);
    }

    /** Nothing is left to send, and nothing to receive that anybody will read. */
    synchronized boolean isDone() {
        return failure != null || endSent && (endReceived || closed);
    }

    /** Whether nothing can be read or written any more. */
    synchronized boolean isLost() {
        return failure != null && !endReceived;
    }

    /** When done: whether the peer may still be sending, or waiting for what will not come. */
    synchronized boolean isCutOff() {
        return !(endReceived && endSent);
    }

    synchronized void credited(int sizeBytes) throws ProtocolViolation {
        if (sizeBytes < 0 || credit + (long) sizeBytes > StreamLane.WINDOW_SIZE_BYTES) {
            throw new ProtocolViolation("more credit than was used");
        }
        credit += sizeBytes;
        notifyAll();
    }

    /** So many bytes are announced. */
    synchronized void announced(int sizeBytes) throws ProtocolViolation {
        if (endReceived) {
            throw new ProtocolViolation("data after the end of a stream");
        }
        if (sizeBytes > window && failure == null) {
            throw new ProtocolViolation("more data than there was credit for");
        }
        window -= sizeBytes;
    }

    /** Takes over {@code piece}, part of a buffer of so many bytes. */
    void deliver(ByteBuf piece, int bufferSizeBytes) {
        synchronized (this) {
            if (failure == null && !closed) {
                put(piece, bufferSizeBytes);
                notifyAll();
                return;
            }
        }
        piece.release();
    }

    private void put(ByteBuf piece, int bufferSizeBytes) {
        int sizeBytes = piece.readableBytes();
        if (sizeBytes >= PIECE_SIZE_BYTES_MIN && (long) sizeBytes * BUFFER_FACTOR_MAX >= bufferSizeBytes) {
            inbox.add(piece);
            collecting = null;
            return;
        }
        ByteBuf tail = collecting;
        if (tail == null || tail.writableBytes() < sizeBytes) {
            tail = lane.allocate(Math.max(PIECE_SIZE_BYTES_MIN, sizeBytes));
            collecting = tail;
            inbox.add(tail);
        }
        tail.writeBytes(piece);
        piece.release();
    }

    synchronized void ended() {
        endReceived = true;
        notifyAll();
    }

    /** Ends both directions; only what has come completely stays. */
    void fail(MessageException reason) {
        synchronized (this) {
            if (failure != null) {
                return;
            }
            failure = reason;
            if (!endReceived) {
                releaseInbox();
            }
            outbox.forEach(ByteBuf::release);
            outbox.clear();
            notifyAll();
        }
    }

    private void releaseInbox() {
        inbox.forEach(ByteBuf::release);
        inbox.clear();
        collecting = null;
    }
}
