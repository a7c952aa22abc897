package blocktree.btmsg;

import java.nio.ByteBuffer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Cuts a stream into frames: a varint length of at most four bytes, then that many bytes. Memory grows with what has
 * arrived, not with what a length promises. Not thread-safe.
 */
final class FrameDecoder {
    static final int FRAME_SIZE_BYTES_MAX = 4 << 20;
    private static final int FIRST_ALLOCATION_BYTES = 4 << 10;
    private static final int LENGTH_BITS_MAX = 28;

    private int length;
    private int lengthBits;
    private boolean lengthKnown;
    private byte[] body = {};
    private int bodySize;

    /** The next frame, or null when {@code source} ends before it does; then call again with what follows. */
    byte @Nullable [] next(ByteBuffer source) throws ControlException {
        while (!lengthKnown) {
            if (!source.hasRemaining()) {
                return null;
            }
            acceptLengthByte(source.get());
        }
        while (bodySize < length) {
            if (!source.hasRemaining()) {
                return null;
            }
            if (bodySize == body.length) {
                body = Arrays.copyOf(body, Math.min(length, Math.max(FIRST_ALLOCATION_BYTES, 2 * bodySize)));
            }
            int count = Math.min(source.remaining(), body.length - bodySize);
            source.get(body, bodySize, count);
            bodySize += count;
        }
        byte[] frame = body.length == length ? body : Arrays.copyOf(body, length);
        length = 0;
        lengthBits = 0;
        lengthKnown = false;
        body = new byte[0];
        bodySize = 0;
        return frame;
    }

    /** Whether the stream may end here without having cut a frame. */
    boolean isBetweenFrames() {
        return !lengthKnown && lengthBits == 0;
    }

    private void acceptLengthByte(byte value) throws ControlException {
        length |= (value & 0x7f) << lengthBits;
        lengthBits += 7;
        if (value >= 0) {
            lengthKnown = true;
        } else if (lengthBits == LENGTH_BITS_MAX) {
            throw new ControlException(ControlException.Code.PROTOCOL, "frame length of more than four bytes");
        }
        if (length > FRAME_SIZE_BYTES_MAX) {
            throw new ControlException(
                    ControlException.Code.PROTOCOL,
                    "frame of at least " + length + " bytes, the most is " + FRAME_SIZE_BYTES_MAX);
        }
    }
}
