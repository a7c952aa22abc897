package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
        name = "lock",
        description = {
            "Run a command while a file or directory of the tree is locked, on all of its nodes: as flock(1) does, and in the way of flock(1) on the same file, but without a mount.",
            "",
            "The exit code is that of the command. Where the lock is lost, since this node was cut off from the others for longer than four seconds, the command is told to end (SIGTERM), and the exit code is 1."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class LockCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Option(names = "--shared", description = "Keep out only those who want it exclusively.")
    private boolean shared;

    @Option(
            names = "--wait",
            paramLabel = "TIME",
            description = "Wait for it no longer than this, such as 0 or 10s; exit code 11 then. Without it, for ever.")
    private @Nullable String patience;

    @Parameters(
            index = "0",
            paramLabel = "PATH",
            description = "From the root of the tree, wherever that is mounted; it has to be there.")
    private String path = "";

    @Parameters(
            index = "1..*",
            arity = "1..*",
            paramLabel = "COMMAND",
            description = "The command and its arguments; put -- before it when it has options.")
    private List<String> command = List.of();

    @Override
    public Integer call() throws NodeException {
        String tried = "to run a command with " + path + " locked";
        ControlRequest.Lock lock = new ControlRequest.Lock(path, shared, patienceMillis(tried), (int)
                ProcessHandle.current().pid());
        CompletableFuture<Void> locked = new CompletableFuture<>();
        try (NodeClient client = NodeClient.require(node.path())) {
            CompletableFuture<ControlReply> end = new CompletableFuture<>();
            Thread holding = new Thread(() -> {
                try {
                    end.complete(client.check(lock, part -> {
                        if (part instanceof ControlReply.Progress progress
                                && progress.phase().equals(LockHold.LOCKED)) {
                            locked.complete(null);
                        }
                    }));
                } catch (NodeException e) {
                    end.completeExceptionally(e);
                }
            });
            holding.setDaemon(true);
            holding.start();
            CompletableFuture.anyOf(locked, end).join();
            return run(tried, end);
        } catch (CompletionException e) {
            if (e.getCause() instanceof NodeException failure) {
                throw failure;
            }
            throw e;
        }
    }

    private long patienceMillis(String tried) throws NodeException {
        if (patience == null) {
            return -1;
        }
        try {
            return patience.equals("0") ? 0 : Quantity.parseMillis(patience);
        } catch (IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.USAGE, tried, "--wait " + patience, "give a time, such as 0, 500ms or 10s", e);
        }
    }

    /** @param end of the lock, which only its loss brings about */
    private int run(String tried, CompletableFuture<ControlReply> end) throws NodeException {
        try {
            Process process = new ProcessBuilder(command).inheritIO().start();
            var unused = end.whenComplete((reply, failure) -> process.destroy());
            int exitCode = process.waitFor();
            if (end.isDone()) {
                end.join();
            }
            return exitCode;
        } catch (IOException e) {
            throw new NodeException(
                    ExitCode.FAILED, tried, Failures.reason(e), "see that the command is there and can be run", e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
