package blocktree.store;

import blocktree.crypto.SecretBytes;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The file of the anchor: two slots of 512 bytes, {@code u16 length ‖ message ‖ zeros}, written in turn and synced, so that a torn
 * write leaves the one before. Not thread-safe.
 */
final class AnchorFile implements AutoCloseable {

    private static final int SLOT_SIZE = 512;

    private final Path path;
    private final @Nullable SecretBytes key;
    private final FileChannel channel;

    private AnchorFile(Path path, @Nullable SecretBytes key, FileChannel channel) {
        this.path = path;
        this.key = key;
        this.channel = channel;
    }

    /**
     * Takes over {@code key}. Creates the file when there is none, unless {@code readOnly}; null then. Without a key what is there is read unauthenticated, and
     * only {@link #write(Anchor, SecretBytes)} writes.
     */
    static @Nullable AnchorFile open(Path path, @Nullable SecretBytes key, boolean readOnly) throws StoreException {
        try {
            if (readOnly) {
                return Files.exists(path)
                        ? new AnchorFile(path, key, FileChannel.open(path, StandardOpenOption.READ))
                        : null;
            }
            Path parent = path.toAbsolutePath().getParent();
            if (parent != null) {
                Files.createDirectories(parent);
            }
            FileChannel channel = FileChannel.open(
                    path, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE);
            return new AnchorFile(path, key, channel);
        } catch (IOException e) {
            throw new StoreException(
                    StoreException.Code.IO, "cannot open the anchor " + path + ": " + e.getMessage(), e);
        }
    }

    boolean isEmpty() throws StoreException {
        try {
            return channel.size() == 0;
        } catch (IOException e) {
            throw new StoreException(StoreException.Code.IO, "cannot read the anchor " + path, e);
        }
    }

    /** The newer of the slots that are authentic; null when none is. */
    @Nullable
    Anchor read() throws StoreException {
        Anchor newest = null;
        for (int slot = 0; slot < 2; slot++) {
            Anchor anchor = read(slot);
            if (anchor != null && (newest == null || anchor.sequence() > newest.sequence())) {
                newest = anchor;
            }
        }
        return newest;
    }

    private @Nullable Anchor read(int slot) throws StoreException {
        ByteBuffer buffer = ByteBuffer.allocate(SLOT_SIZE);
        try {
            while (buffer.hasRemaining()) {
                if (channel.read(buffer, (long) slot * SLOT_SIZE + buffer.position()) < 0) {
                    return null;
                }
            }
        } catch (IOException e) {
            throw new StoreException(StoreException.Code.IO, "cannot read the anchor " + path, e);
        }
        int length = buffer.getShort(0) & 0xffff;
        if (length == 0 || length > SLOT_SIZE - 2) {
            return null;
        }
        return Anchor.parse(Arrays.copyOfRange(buffer.array(), 2, 2 + length), key);
    }

    /** On the device when it returns. */
    void write(Anchor anchor) throws StoreException {
        if (key == null) {
            throw new IllegalStateException("no key to write the anchor with");
        }
        write(anchor, key);
    }

    /** As {@link #write(Anchor)}, for the node that has {@code writerKey}. */
    void write(Anchor anchor, SecretBytes writerKey) throws StoreException {
        byte[] message = anchor.encode(writerKey);
        ByteBuffer buffer = ByteBuffer.allocate(SLOT_SIZE);
        buffer.putShort((short) message.length).put(message).rewind();
        buffer.limit(SLOT_SIZE);
        try {
            long offset = (anchor.sequence() & 1) * SLOT_SIZE;
            while (buffer.hasRemaining()) {
                channel.write(buffer, offset + buffer.position());
            }
            channel.force(false);
        } catch (IOException e) {
            StoreException.Code code = String.valueOf(e.getMessage()).contains("No space left")
                    ? StoreException.Code.NO_SPACE
                    : StoreException.Code.IO;
            throw new StoreException(code, "cannot write the anchor " + path + ": " + e.getMessage(), e);
        }
    }

    @Override
    public void close() {
        if (key != null) {
            key.close();
        }
        try {
            channel.close();
        } catch (IOException e) {
            // Everything that was written has been synced.
        }
    }
}
