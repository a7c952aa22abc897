package blocktree.node;

import static java.nio.charset.StandardCharsets.US_ASCII;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.TreeId;
import blocktree.store.KeyHolders;
import java.io.IOException;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The keys of a node as one text under one passphrase: two key files (docs/format.md, section 2.2), the root's and the node's, after a few lines for who finds the print. It survives a
 * printer and a mail client.
 */
record KeyBackup(KeyFile root, KeyFile node) {
    private static final int SIZE_BYTES_MAX = 64 * 1024;

    /** Both keys opened; closing it closes them. */
    record Opened(Identity root, Identity node) implements AutoCloseable {
        /** Shows that they decrypt the tree of {@code data}, which a node may have open. */
        void rehearse(DataDirectory data) throws NodeException {
            OpenTree.rehearse(data.tree(), root, node);
        }

        @Override
        public void close() {
            root.close();
            node.close();
        }
    }

    /** Fails with BAD_KEY_FILE when {@code data}, whose holders are given, holds another tree. */
    void requireTreeOf(DataDirectory data, KeyHolders holders, Path path) throws NodeException {
        TreeId there = holders.authority().tree();
        if (!there.equals(tree())) {
            throw new NodeException(
                    ExitCode.BAD_KEY_FILE,
                    "to use the backup " + path + " with " + data.path(),
                    "it is of the tree " + Fingerprint.of(tree()) + ", and there is " + Fingerprint.of(there),
                    "take a backup of that tree's keys, or name the data directory of this one with --data-dir");
        }
    }

    /** Fails with BAD_KEY_FILE when a key was replaced since. */
    static void checkCurrent(KeyHolders holders, PrincipalId root, PrincipalId node, String tried, String remedy)
            throws NodeException {
        List<String> found = new ArrayList<>();
        if (holders.isRetiredRoot(root)) {
            found.add("its root key, " + Fingerprint.of(root) + ", is retired: btnode key rotate-root has put "
                    + Fingerprint.of(holders.root()) + " in its place");
        }
        if (holders.isReplacedNode(node)) {
            found.add("its node key, " + Fingerprint.of(node) + ", was replaced by " + Fingerprint.of(holders.node())
                    + " with btnode key replace-node");
        }
        if (!found.isEmpty()) {
            throw new NodeException(ExitCode.BAD_KEY_FILE, tried, String.join("; ", found), remedy);
        }
    }

    static KeyBackup of(Identity root, Identity node, TreeId tree, SecretBytes passphrase) {
        return new KeyBackup(
                KeyFile.protect(root, KeyFile.Role.ROOT, tree, passphrase),
                KeyFile.protect(node, KeyFile.Role.NODE, tree, passphrase));
    }

    /** BAD_KEY_FILE when it is none, or damaged. */
    static KeyBackup read(Path path) throws NodeException {
        String tried = "to read the backup " + path;
        try {
            String text = new String(BoundedFile.read(path, SIZE_BYTES_MAX), US_ASCII);
            KeyFile root = null;
            KeyFile node = null;
            int from = 0;
            for (int end = text.indexOf(KeyFile.END); end >= 0; end = text.indexOf(KeyFile.END, from)) {
                int begin = Math.max(from, text.lastIndexOf(KeyFile.BEGIN, end)); // what stands before may be long
                KeyFile key = KeyFile.parse(
                        text.substring(begin, end + KeyFile.END.length()).getBytes(US_ASCII));
                if (key.role() == KeyFile.Role.ROOT) {
                    root = key;
                } else {
                    node = key;
                }
                from = end + KeyFile.END.length();
            }
            if (root == null || node == null) {
                throw notOne(tried, "no " + (root == null ? "root" : "node") + " key in it", null);
            }
            if (root.tree() == null || !Objects.equals(root.tree(), node.tree())) {
                throw notOne(tried, "keys of two trees", null);
            }
            if (!root.isProtected() || !node.isProtected()) {
                throw notOne(tried, "a key without passphrase", null);
            }
            return new KeyBackup(root, node);
        } catch (CryptoException e) {
            throw notOne(tried, String.valueOf(e.getMessage()), e);
        } catch (IOException e) {
            throw notOne(tried, Failures.reason(e), e);
        }
    }

    private static NodeException notOne(String tried, String found, @Nullable Throwable cause) {
        return new NodeException(
                ExitCode.BAD_KEY_FILE,
                tried,
                found,
                "name a file that btnode key backup has written, whole and as it was; compare it with the print",
                cause);
    }

    TreeId tree() {
        return Objects.requireNonNull(root.tree());
    }

    /** For the caller to close. WRONG_PASSPHRASE when it is another. */
    Opened open(SecretBytes passphrase, String tried) throws NodeException {
        try {
            Identity rootIdentity = root.unlock(passphrase);
            try {
                return new Opened(rootIdentity, node.unlock(passphrase));
            } catch (CryptoException e) {
                rootIdentity.close();
                throw e;
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
    }

    /** All of it is sealed or public: it may be printed and mailed, and is as safe as its passphrase is hard to guess. */
    String toText() {
        return """
                Backup of the keys of a Blocktree tree, made on %s.

                Tree fingerprint: %s

                Both keys are encrypted under the passphrase that was given when this was made. With it, this text and a copy
                of the node's data directory, all data can be read again:
                  btnode key restore THIS-FILE --data-dir DIR
                Whether this text is good, with a node that runs or not:
                  btnode key verify-backup THIS-FILE --data-dir DIR
                Keep it apart from its passphrase. Lines may be quoted or indented; nothing in them may be left out.

                %s
                %s""".formatted(
                        LocalDate.now(ZoneOffset.UTC),
                        Fingerprint.of(tree()),
                        new String(root.toText(), US_ASCII),
                        new String(node.toText(), US_ASCII));
    }
}
