package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.crypto.Identity;
import blocktree.crypto.SecretBytes;
import ch.qos.logback.classic.Level;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "fsck",
        description = {
            "Check everything that is stored: signatures, capabilities, every sector, every name and link.",
            "Works on a running node through its control socket, else on the data directory itself. "
                    + "Exit code 0: all is well; 1: there are findings, one a line."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class FsckCommand implements Callable<Integer> {
    @Mixin
    private DataDirectoryOption directory;

    @Mixin
    private PassphraseOptions passphrase;

    @Option(
            names = "--repair",
            description = "Repair what can be repaired without losing anything; everything else is only reported.")
    private boolean repair;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Path path = directory.path();
        if (passphrase.isGiven()) {
            // The root key is part of what is checked; this also tells a wrong passphrase before a long check.
            try (SecretBytes secret = passphrase.read("of the root key", System.err)) {
                NodeKeys.checkRoot(path.resolve(DataDirectory.ROOT_KEY), secret);
            }
        }
        CheckReport report = new CheckReport(output);
        Optional<NodeClient> running = NodeClient.connect(path);
        if (running.isPresent()) {
            try (NodeClient client = running.get()) {
                return report.finish(
                        (ControlReply.Checked) client.check(new ControlRequest.Fsck(repair), report::accept));
            }
        }
        DataDirectory data = DataDirectory.open(path);
        EventLog.start(EventLog.Format.TEXT, Level.WARN);
        try (DataDirectory.Lock lock = data.lock(!repair);
                Identity identity = NodeKeys.unlockNode(data, passphrase, System.err);
                OpenTree tree = OpenTree.open(
                        repair ? RunSettings.of(data) : RunSettings.of(data).withReadOnly(), identity)) {
            return report.finish(tree.fsck(repair, part -> {
                report.accept(part);
                return true;
            }));
        } catch (IOException e) {
            throw Failures.of("to check " + path, e, "check the disk and the permissions");
        }
    }
}
