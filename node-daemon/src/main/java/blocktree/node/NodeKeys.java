package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.SecretBytes;
import blocktree.store.KeyHolders;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;

/** Unlocks the keys of a data directory. */
final class NodeKeys {
    /** The name under which systemd hands over a node key. */
    static final String CREDENTIAL_NAME = "btnode-node-key";

    /** Where systemd looks for it. */
    private static final String STORED = "/etc/credstore.encrypted/" + CREDENTIAL_NAME;

    private static final String START_THE_SERVICE = "start the node as a systemd service with LoadCredentialEncrypted="
            + CREDENTIAL_NAME + " (docs/operations.md), or set node_key and node_key_path in btnode.conf";

    /** For commands that can be given the key in another way. */
    static final String NAME_A_COPY =
            "name a copy of it with --node-key KEYFILE; this makes one, on a memory file system:\n    (umask 077; systemd-creds decrypt --name="
                    + CREDENTIAL_NAME + " " + STORED + " /dev/shm/node.key)";

    private NodeKeys() {}

    /** The root key in {@code path}, which must be the one in force. */
    static KeyFile readRoot(Path path, KeyHolders holders, String tried) throws NodeException, CryptoException {
        KeyFile file = KeyFile.read(path);
        PrincipalId id = file.principal().id();
        if (holders.isRoot(id)) {
            return file;
        }
        throw new NodeException(
                ExitCode.BAD_KEY_FILE,
                tried,
                holders.isRetiredRoot(id)
                        ? "the root key in " + path + " is retired: btnode key rotate-root has put "
                                + Fingerprint.of(holders.root()) + " in its place"
                        : path + " is no root key of this tree",
                "name the root key " + Fingerprint.of(holders.root()) + " with --root-key");
    }

    /** What to do with a node key that was made for systemd to hand over. */
    static String intoCredentialStore(Path key) {
        return "move the node key into systemd's store, then start the service:\n    install -d -m 700 /etc/credstore.encrypted\n    systemd-creds encrypt --name="
                + CREDENTIAL_NAME + " " + Shell.word(key) + " " + STORED + "\n    shred -u " + Shell.word(key);
    }

    /** The node's identity, for the caller to close. Asks for the passphrase only when the key has one. */
    static Identity unlockNode(DataDirectory directory, PassphraseOptions passphrase, PrintStream err)
            throws NodeException {
        Path path = nodeKeyPath(directory, START_THE_SERVICE);
        String tried = "to unlock the node key " + path;
        try {
            KeyFile file = KeyFile.read(path);
            if (file.role() != KeyFile.Role.NODE) {
                throw new NodeException(
                        ExitCode.BAD_KEY_FILE,
                        tried,
                        "it is a root key",
                        "set node_key_path in btnode.conf to the node's key");
            }
            if (!file.isProtected()) {
                return file.unlock(null);
            }
            try (SecretBytes secret = passphrase.read("of the node key", err)) {
                return file.unlock(secret);
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
    }

    /** @param unlessHandedOver what to do where systemd has started something else than this process */
    static Path nodeKeyPath(DataDirectory directory, String unlessHandedOver) throws NodeException {
        if (directory.settings().nodeKey() != NodeSettings.NodeKeyProtection.CREDENTIAL) {
            return directory.nodeKey();
        }
        String tried = "to take the node key from the service manager";
        String credentials = System.getenv("CREDENTIALS_DIRECTORY");
        if (credentials == null || credentials.isEmpty()) {
            throw new NodeException(
                    ExitCode.BAD_KEY_FILE,
                    tried,
                    "CREDENTIALS_DIRECTORY is not set: systemd hands it over to its service only",
                    unlessHandedOver);
        }
        Path path = Path.of(credentials, CREDENTIAL_NAME);
        if (Files.notExists(path)) {
            throw new NodeException(
                    ExitCode.BAD_KEY_FILE,
                    tried,
                    "it has handed over no " + CREDENTIAL_NAME,
                    "see that " + STORED
                            + " is there (systemd-creds encrypt puts a key there, docs/operations.md says how), and that the unit has LoadCredentialEncrypted="
                            + CREDENTIAL_NAME + " (systemctl cat btnode)");
        }
        return path;
    }
}
