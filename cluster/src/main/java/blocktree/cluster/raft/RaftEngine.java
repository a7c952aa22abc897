package blocktree.cluster.raft;

import blocktree.cluster.Agreement;
import blocktree.cluster.ClusterNode;
import blocktree.cluster.Machine;
import blocktree.crypto.PrincipalId;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.stream.Stream;

/** {@link RaftAgreement} for a node that may begin to vote, and end. Not thread-safe. */
public final class RaftEngine implements ClusterNode.Engine {
    private final Path directory;
    private final BiFunction<Machine, Set<PrincipalId>, RaftOptions> options;

    /** @param options of an agreement in {@code directory}, for a machine and who votes to begin with */
    public RaftEngine(Path directory, BiFunction<Machine, Set<PrincipalId>, RaftOptions> options) {
        this.directory = directory;
        this.options = options;
    }

    @Override
    public Agreement start(Machine machine, Set<PrincipalId> voters) throws IOException {
        return RaftAgreement.start(options.apply(machine, voters));
    }

    @Override
    public boolean isBegun() throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.findAny().isPresent();
        } catch (NoSuchFileException e) {
            return false;
        }
    }

    @Override
    public boolean isForgotten() {
        return Files.exists(forgotten(directory));
    }

    /** Is there once the engine of that directory was forgotten. */
    static Path forgotten(Path directory) {
        return directory.resolveSibling(directory.getFileName() + ".forgotten");
    }

    /** Half a log could not be told from a whole one: it goes at once, and is deleted then. */
    @Override
    public void forget() throws IOException {
        Path gone = directory.resolveSibling(directory.getFileName() + ".gone");
        delete(gone);
        Files.writeString(forgotten(directory), "");
        Files.move(directory, gone, StandardCopyOption.ATOMIC_MOVE);
        delete(gone);
    }

    private static void delete(Path directory) throws IOException {
        if (!Files.exists(directory)) {
            return;
        }
        try (Stream<Path> files = Files.walk(directory)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
    }
}
