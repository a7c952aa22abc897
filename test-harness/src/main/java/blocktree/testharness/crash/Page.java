package blocktree.testharness.crash;

import java.nio.ByteBuffer;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/** A page of 4 KiB that says of itself which file, place and version it is; anything torn, misplaced or zeroed does not check. */
record Page(long file, int index, int version) {
    static final int SIZE_BYTES = 4096;
    private static final long MAGIC = 0x626c6f636b747265L;
    private static final int CHECKED_BYTES = SIZE_BYTES - 4;

    void encode(ByteBuffer target) {
        int start = target.position();
        target.putLong(MAGIC).putLong(file).putInt(index).putInt(version);
        long filler = file * 31 + index * 17L + version;
        while (target.position() < start + CHECKED_BYTES - 4) {
            filler = filler * 6364136223846793005L + 1442695040888963407L;
            target.putInt((int) (filler >>> 32));
        }
        target.putInt(0);
        target.putInt(checksum(target.array(), start));
    }

    /** The page that {@code bytes} holds at {@code offset}, or null when it is not a whole and unaltered one. */
    static @Nullable Page decode(byte[] bytes, int offset) {
        if (bytes.length - offset < SIZE_BYTES) {
            return null;
        }
        ByteBuffer source = ByteBuffer.wrap(bytes, offset, SIZE_BYTES);
        if (source.getInt(offset + CHECKED_BYTES) != checksum(bytes, offset) || source.getLong() != MAGIC) {
            return null;
        }
        return new Page(source.getLong(), source.getInt(), source.getInt());
    }

    private static int checksum(byte[] bytes, int offset) {
        CRC32C crc = new CRC32C();
        crc.update(bytes, offset, CHECKED_BYTES);
        return (int) crc.getValue();
    }
}
