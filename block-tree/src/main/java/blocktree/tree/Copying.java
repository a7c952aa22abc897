package blocktree.tree;

import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/** Copies by reading and writing, a piece at a time. */
final class Copying {
    private static final int PIECE_SIZE_BYTES_MAX = 1 << 20;

    /** Reads or writes a buffer at an offset from where the copy begins; the bytes that were moved. */
    interface Piece {
        int move(long offset, ByteBuffer buffer) throws FileSystemException;
    }

    private Copying() {}

    /** As {@link FileSystem#copy}. */
    static long copy(long sizeBytes, Piece source, Piece target, Supplier<CompletableFuture<Void>> room)
            throws FileSystemException {
        ByteBuffer buffer = ByteBuffer.allocate((int) Math.min(sizeBytes, PIECE_SIZE_BYTES_MAX));
        long copied = 0;
        while (copied < sizeBytes) {
            buffer.clear().limit((int) Math.min(buffer.capacity(), sizeBytes - copied));
            if (source.move(copied, buffer) == 0) {
                break;
            }
            copied += target.move(copied, buffer.flip());
            if (!room.get().isDone()) {
                break;
            }
        }
        return copied;
    }
}
