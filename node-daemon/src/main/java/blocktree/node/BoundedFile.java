package blocktree.node;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;

/** Files of whoever gave a command, which may name anything, such as a device without an end. */
final class BoundedFile {
    private BoundedFile() {}

    /** All of it; IOException when that is more than {@code sizeBytesMax}. */
    static byte[] read(Path path, int sizeBytesMax) throws IOException {
        try (InputStream in = Files.newInputStream(path)) {
            byte[] bytes = in.readNBytes(sizeBytesMax + 1);
            if (bytes.length > sizeBytesMax) {
                throw new IOException("larger than " + sizeBytesMax + " bytes");
            }
            return bytes;
        }
    }
}
