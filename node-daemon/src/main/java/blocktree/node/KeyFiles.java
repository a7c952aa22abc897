package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.KeyFile;
import blocktree.store.KeyHolders;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The key files of a data directory while a key changes (docs/decisions/0007-keys-change-in-one-batch.md): the new key waits in {@code FILE.next} until the log says that
 * it counts.
 */
final class KeyFiles {
    private static final Logger log = LoggerFactory.getLogger(KeyFiles.class);
    static final String NEXT = ".next";

    private KeyFiles() {}

    /** Where the key waits that is to take the place of {@code file}. */
    static Path next(Path file) {
        return file.resolveSibling(file.getFileName() + NEXT);
    }

    /**
     * Finishes a change that was interrupted after the log had it. For who holds the directory's lock.
     *
     * @return whether that was a rotation of the root key
     */
    static boolean settle(DataDirectory data, KeyPlaceOptions places) throws NodeException {
        Path nodeKey = data.nodeKey();
        Path rootKey = places.rootKey(data);
        if (!isThere(next(nodeKey)) && !isThere(next(rootKey))) {
            return false;
        }
        String tried = "to finish a change of keys that was interrupted";
        KeyHolders holders = OpenTree.keyHolders(data.tree());
        try {
            // What the log says may be in the kernel's cache only.
            OpenTree.syncLog(data.tree());
            if (isThere(next(nodeKey))) {
                KeyFile waiting = KeyFile.read(next(nodeKey));
                KeyFile before = readOrNull(nodeKey);
                // The same key sealed anew belongs to a rotation, and counts if that does.
                boolean another = before == null || !before.principal().equals(waiting.principal());
                if (another && holders.node().equals(waiting.principal().id())) {
                    takePlace(nodeKey, tried);
                    finished("node", nodeKey);
                }
            }
            if (!isThere(next(rootKey))
                    || !holders.isRoot(KeyFile.read(next(rootKey)).principal().id())) {
                return false;
            }
            finishRotation(
                    rootKey, places.nodeKeyFile(data), holders.authority().rotations(), tried);
            finished("root", rootKey);
            return true;
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        } catch (IOException e) {
            throw Failures.of(tried, e, "check the disk and the permissions of the data directory");
        }
    }

    /** As {@link #settle}, for a command that goes on without the lock: a process that has it has settled already, or is about to. */
    static void settleUnlessTaken(DataDirectory data, KeyPlaceOptions places) throws NodeException {
        if (!isThere(next(data.nodeKey())) && !isThere(next(places.rootKey(data)))) {
            return;
        }
        try (DataDirectory.Lock lock = data.lock(true)) {
            if (!lock.isShared()) {
                settle(data, places);
            }
        } catch (NodeException e) {
            if (e.exitCode() != ExitCode.ALREADY_RUNNING) {
                throw e;
            }
        }
    }

    /**
     * The directory's lock for who writes key files, after {@link #settle}. Null when a node that runs has it: its keys are in its memory, and it changes no key file. Whoever else has it may be
     * changing one: ALREADY_RUNNING.
     */
    static DataDirectory.@Nullable Lock lockBesideNode(DataDirectory data, KeyPlaceOptions places)
            throws NodeException {
        DataDirectory.Lock lock;
        try {
            lock = data.lock(false);
        } catch (NodeException e) {
            if (e.exitCode() == ExitCode.ALREADY_RUNNING) {
                Optional<NodeClient> node = NodeClient.connect(data.path());
                if (node.isPresent()) {
                    node.get().close();
                    return null;
                }
            }
            throw e;
        }
        try {
            settle(data, places);
            return lock;
        } catch (NodeException e) {
            lock.close();
            throw e;
        }
    }

    private static void finished(String key, Path file) {
        log.atInfo().addKeyValue("key", key).addKeyValue("file", file).log("key_change_finished");
    }

    /** The waiting node key takes its place; the one before is gone. */
    static void takePlace(Path file, String tried) throws NodeException {
        try {
            KeyFile.rename(next(file), file);
        } catch (IOException e) {
            throw Failures.of(
                    tried,
                    e,
                    "the key in " + next(file) + " counts: give it the name " + file + " when that can be done");
        }
    }

    /** Of a change that will never count. */
    static void discard(Path file, String tried) throws NodeException {
        try {
            Files.deleteIfExists(next(file));
        } catch (IOException e) {
            throw Failures.of(tried, e, "remove " + next(file));
        }
    }

    /**
     * The waiting root key takes its place, after a node key that was sealed anew under its passphrase: as long as the root key waits, both are to be done. The root key before is kept, where it is
     * said; null when there was none.
     */
    static @Nullable Path finishRotation(Path rootKey, Path nodeKey, int rotation, String tried) throws NodeException {
        Path kept = null;
        try {
            if (isThere(next(nodeKey))) {
                KeyFile before = readOrNull(nodeKey);
                if (before != null
                        && before.isProtected()
                        && before.principal().equals(KeyFile.read(next(nodeKey)).principal())) {
                    takePlace(nodeKey, tried);
                }
            }
            if (isThere(rootKey)) {
                KeyFile before = KeyFile.read(rootKey);
                kept = retired(rootKey, rotation, before);
                if (!isThere(kept)) {
                    before.write(kept, false);
                }
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        takePlace(rootKey, tried);
        return kept;
    }

    /** A name that is free, or that an attempt before has given to the same key. */
    private static Path retired(Path file, int rotation, KeyFile key) throws CryptoException {
        String name = file.getFileName() + ".retired-" + rotation;
        Path path = file.resolveSibling(name);
        for (int i = 2; isThere(path) && !KeyFile.read(path).principal().equals(key.principal()); i++) {
            path = file.resolveSibling(name + "-" + i);
        }
        return path;
    }

    /** Null when it is missing or of no use. */
    private static @Nullable KeyFile readOrNull(Path path) {
        try {
            return KeyFile.read(path);
        } catch (CryptoException e) {
            return null;
        }
    }

    private static boolean isThere(Path path) {
        return Files.exists(path, LinkOption.NOFOLLOW_LINKS);
    }
}
