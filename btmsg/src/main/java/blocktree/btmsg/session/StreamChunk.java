package blocktree.btmsg.session;

import io.netty.buffer.ByteBuf;
import java.nio.ByteBuffer;

/** Some bytes that a stream has delivered. Whoever reads closes it, once, after which the bytes are gone and the sender may send as many more. */
public final class StreamChunk implements AutoCloseable {
    private final PeerStream stream;
    private final ByteBuf buffer;
    private final ByteBuffer bytes;
    private final int sizeBytes;
    private boolean closed;

    StreamChunk(PeerStream stream, ByteBuf buffer) {
        this.stream = stream;
        this.buffer = buffer;
        this.sizeBytes = buffer.readableBytes();
        this.bytes = buffer.nioBuffer().asReadOnlyBuffer();
    }

    /** At least one byte; the buffer that TLS decrypted into, valid until {@link #close}. */
    public ByteBuffer bytes() {
        return bytes;
    }

    @Override
    public void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
        }
        buffer.release();
        stream.consumed(sizeBytes);
    }
}
