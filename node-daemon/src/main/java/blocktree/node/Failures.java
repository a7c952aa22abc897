package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.crypto.CryptoException;
import blocktree.fuse.MountException;
import blocktree.store.StoreException;
import blocktree.tree.FileSystemException;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;

/** The modules' exceptions as an operator needs them. */
final class Failures {
    private static final String MAKE_ROOM =
            "make room on the disk and try again; without room the tree can still be read: btnode run --read-only";

    private static final String CHECK = "run btnode fsck on the data directory; restore from a copy what it names";

    private Failures() {}

    /** What the operating system said, without the names of Java's classes. */
    static String reason(IOException e) {
        String message = String.valueOf(e.getMessage());
        if (e instanceof NoSuchFileException) {
            return message + ": no such file or directory";
        } else if (e instanceof AccessDeniedException) {
            return message + ": permission denied";
        } else if (e instanceof FileAlreadyExistsException) {
            return message + ": exists already";
        } else if (e instanceof NotDirectoryException) {
            return message + ": not a directory";
        } else if (e instanceof DirectoryNotEmptyException) {
            return message + ": not empty";
        } else if (e instanceof CharacterCodingException) {
            return "not UTF-8";
        }
        return message;
    }

    /** What the operating system refused; {@code remedy} is for anything but a full disk. */
    static NodeException of(String tried, IOException e, String remedy) {
        boolean full = String.valueOf(e.getMessage()).contains("No space left on device");
        return new NodeException(
                full ? ExitCode.NO_SPACE : ExitCode.FAILED, tried, reason(e), full ? MAKE_ROOM : remedy, e);
    }

    static NodeException of(String tried, CryptoException e) {
        String found = e.getCause() instanceof IOException io ? reason(io) : String.valueOf(e.getMessage());
        return switch (e.code()) {
            case BAD_PASSPHRASE ->
                new NodeException(
                        ExitCode.WRONG_PASSPHRASE,
                        tried,
                        found,
                        "try again with the passphrase from btnode init or, if it was changed since, btnode key passphrase",
                        e);
            case PASSPHRASE_NEEDED ->
                new NodeException(
                        ExitCode.WRONG_PASSPHRASE,
                        tried,
                        found,
                        "give it with --passphrase-file or --passphrase-fd, or run from a terminal",
                        e);
            case DAMAGED_KEY_FILE, UNSUPPORTED, MALFORMED ->
                new NodeException(
                        ExitCode.BAD_KEY_FILE,
                        tried,
                        found,
                        "put back the copy of the key file that you keep elsewhere",
                        e);
            case UNSAFE_PERMISSIONS, IO ->
                new NodeException(
                        ExitCode.BAD_KEY_FILE,
                        tried,
                        found,
                        e.getCause() instanceof NoSuchFileException
                                ? "check the path; a key that is lost comes back with: btnode key restore BACKUP --data-dir DIR"
                                : "check the path and the permissions of the key file",
                        e);
            case BAD_SIGNATURE, DENIED, OUT_OF_ORDER, CORRUPT, WRONG_KEY, TOO_MANY ->
                new NodeException(ExitCode.DAMAGED_STORE, tried, found, "run btnode fsck on the data directory", e);
        };
    }

    static NodeException of(String tried, StoreException e) {
        String found = String.valueOf(e.getMessage());
        return switch (e.code()) {
            case CORRUPT -> new NodeException(ExitCode.DAMAGED_STORE, tried, found, CHECK, e);
            case LOST_WRITES ->
                new NodeException(
                        ExitCode.DAMAGED_STORE,
                        tried,
                        found,
                        "check the disk; restore the data directory from a copy, or accept what is there with: btnode run --accept-loss",
                        e);
            case WRONG_KEY, DENIED ->
                new NodeException(
                        ExitCode.BAD_KEY_FILE,
                        tried,
                        found,
                        "use the key of this node: the one made with this data directory, or what btnode key replace-node has put in its place",
                        e);
            case LOCKED ->
                new NodeException(
                        ExitCode.ALREADY_RUNNING, tried, found, "stop the process that has the store open", e);
            case NO_SPACE -> new NodeException(ExitCode.NO_SPACE, tried, found, MAKE_ROOM, e);
            case TIMED_OUT ->
                new NodeException(ExitCode.TIMED_OUT, tried, found, "look at the load of the disk and try again", e);
            case IO ->
                new NodeException(
                        ExitCode.FAILED, tried, found, "check the disk and the permissions of the data directory", e);
            case READ_ONLY ->
                new NodeException(
                        ExitCode.FAILED,
                        tried,
                        found,
                        "run the node without --read-only; if it is, look for store events in its log",
                        e);
            case NOT_FOUND, CONFLICT, CLOSED, INVALID ->
                new NodeException(ExitCode.FAILED, tried, found, "correct the request and try again", e);
        };
    }

    static NodeException of(String tried, MountException e) {
        return new NodeException(ExitCode.MOUNT_POINT, tried, e.found(), e.remedy(), e);
    }

    static NodeException of(String tried, FileSystemException e) {
        ExitCode exitCode = switch (e.code()) {
            case CORRUPT -> ExitCode.DAMAGED_STORE;
            case NO_SPACE -> ExitCode.NO_SPACE;
            case TIMED_OUT -> ExitCode.TIMED_OUT;
            default -> ExitCode.FAILED;
        };
        return new NodeException(
                exitCode,
                tried,
                String.valueOf(e.getMessage()),
                switch (exitCode) {
                    case NO_SPACE -> MAKE_ROOM;
                    case DAMAGED_STORE -> CHECK;
                    default -> "look at the node's log for what came before";
                },
                e);
    }

    static NodeException of(ControlReply.Failed failed) {
        return new NodeException(ExitCode.of(failed.exitCode()), failed.tried(), failed.found(), failed.remedy());
    }

    static ControlReply.Failed toReply(NodeException e) {
        return new ControlReply.Failed(e.exitCode().code(), e.tried(), e.found(), e.remedy());
    }
}
