package blocktree.cluster;

import blocktree.btmsg.session.PeerStream;
import blocktree.btmsg.session.StreamChunk;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.channels.ClosedChannelException;
import org.jspecify.annotations.Nullable;

/** A stream between nodes as a channel in blocking mode. One thread may read while another writes. */
final class StreamChannel implements ByteChannel {

    private final PeerStream stream;

    // guarded by this
    private @Nullable StreamChunk chunk;
    private boolean closed;

    StreamChannel(PeerStream stream) {
        this.stream = stream;
    }

    @Override
    public int read(ByteBuffer target) throws IOException {
        try {
            while (true) {
                int size = take(target);
                if (size >= 0) {
                    return size;
                }
                StreamChunk next = stream.read();
                if (next == null) {
                    return -1;
                }
                put(next);
            }
        } catch (InterruptedException e) {
            throw interrupted();
        }
    }

    /** From the chunk that is there; negative when there is none. It goes back as soon as it is used up. */
    private synchronized int take(ByteBuffer target) throws ClosedChannelException {
        check();
        StreamChunk current = chunk;
        if (current == null) {
            return -1;
        }
        ByteBuffer bytes = current.bytes();
        int size = Math.min(target.remaining(), bytes.remaining());
        target.put(bytes.slice(bytes.position(), size));
        bytes.position(bytes.position() + size);
        if (!bytes.hasRemaining()) {
            release();
        }
        return size;
    }

    private synchronized void put(StreamChunk next) {
        chunk = next;
        if (closed) {
            release();
        }
    }

    private synchronized void release() {
        if (chunk != null) {
            chunk.close();
            chunk = null;
        }
    }

    @Override
    public int write(ByteBuffer source) throws IOException {
        check();
        int size = source.remaining();
        try {
            stream.write(source);
            return size;
        } catch (InterruptedException e) {
            throw interrupted();
        }
    }

    /** Nothing more is written. */
    void end() {
        stream.end();
    }

    /** Until the other side says so too, or is silent for too long: a stream that is let go before is cut off for it as well. */
    void awaitEnd() {
        ByteBuffer ignored = ByteBuffer.allocate(1 << 10);
        try {
            while (read(ignored.clear()) >= 0) {
                // nothing that matters now
            }
        } catch (IOException e) {
            // It has all that there was, or has told why not.
        }
    }

    private synchronized void check() throws ClosedChannelException {
        if (closed) {
            throw new ClosedChannelException();
        }
    }

    private static IOException interrupted() {
        Thread.currentThread().interrupt();
        return new InterruptedIOException("interrupted");
    }

    @Override
    public synchronized boolean isOpen() {
        return !closed;
    }

    @Override
    public void close() {
        synchronized (this) {
            closed = true;
            release();
        }
        stream.close();
    }
}
