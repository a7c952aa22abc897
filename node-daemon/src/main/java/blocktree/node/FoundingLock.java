package blocktree.node;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;

/**
 * Keeps every other init away from a directory while one is at work there. The kernel lets it go when the process ends, however it ends; the empty file that a killed init leaves keeps nobody out,
 * and goes with the next one.
 */
final class FoundingLock implements AutoCloseable {
    private static final String NAME = ".init.lock";

    private final Path file;
    private final FileChannel channel;

    private FoundingLock(Path file, FileChannel channel) {
        this.file = file;
        this.channel = channel;
    }

    /** ALREADY_RUNNING when another init has it. */
    static FoundingLock take(Path directory, String tried) throws NodeException, IOException {
        Path file = directory.resolve(NAME);
        try {
            Files.createFile(file, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        } catch (FileAlreadyExistsException e) {
            // another init's, which may be at work or not
        }
        try {
            Object there = inode(file);
            FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
            try {
                // Who had it before takes the file away at the end: a lock on what lies there no more keeps nobody out.
                if (channel.tryLock() != null && inode(file).equals(there)) {
                    return new FoundingLock(file, channel);
                }
            } catch (OverlappingFileLockException e) {
                // held by this very process: answered like any other holder
            } catch (IOException e) {
                channel.close();
                throw e;
            }
            channel.close();
        } catch (NoSuchFileException e) {
            // taken away just now: whoever was at work there may have ended, or not
        }
        throw taken(tried);
    }

    static NodeException taken(String tried) {
        return new NodeException(
                ExitCode.ALREADY_RUNNING,
                tried,
                "another btnode init is at work there",
                "wait until it has ended, and see what it says");
    }

    private static Object inode(Path file) throws IOException {
        return Files.getAttribute(file, "unix:ino", LinkOption.NOFOLLOW_LINKS);
    }

    /** Whether there is the file of an init, at work or killed. */
    static boolean isThere(Path directory) throws IOException {
        Path file = directory.resolve(NAME);
        return Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) && Files.size(file) == 0;
    }

    boolean isFile(Path path) {
        return path.equals(file);
    }

    @Override
    public void close() throws IOException {
        try {
            Files.deleteIfExists(file); // as long as it is this one's
        } finally {
            channel.close();
        }
    }
}
