package blocktree.cluster.raft;

import blocktree.cluster.AgreementException;
import blocktree.cluster.Machine;
import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** Keeps a list. What it does before that can be changed by a test. */
final class ListMachine implements Machine {

    record Entry(Mark mark, ByteString bytes) {}

    volatile Function<ByteString, CompletableFuture<Void>> prepare = entry -> CompletableFuture.completedFuture(null);
    volatile UnaryOperator<ByteString> admit = entry -> entry;
    volatile @Nullable String refusal;
    /** What {@link #apply} throws when it comes to an entry of this text. */
    volatile @Nullable String poison;

    volatile Function<PrincipalId, CompletableFuture<ListMachine>> source =
            leader -> CompletableFuture.failedFuture(new IllegalStateException("there is nobody to ask"));

    volatile Consumer<ByteString> onApply = entry -> {};

    volatile int applications;
    volatile int catchUps;
    volatile int syncs;

    // guarded by this
    private final List<Entry> entries = new ArrayList<>();

    private synchronized Mark at() {
        return entries.isEmpty() ? Mark.NONE : entries.get(entries.size() - 1).mark();
    }

    /** What is left of it after a crash that takes the newest {@code lost} entries. */
    synchronized ListMachine afterCrash(int lost) {
        ListMachine left = new ListMachine();
        left.entries.addAll(entries.subList(0, Math.max(0, entries.size() - lost)));
        left.source = source;
        return left;
    }

    /** All that was applied, but for the engine's own entries. */
    synchronized List<String> texts() {
        return entries.stream()
                .filter(entry -> !entry.bytes().isEmpty())
                .map(entry -> entry.bytes()
                        .substring(0, Math.min(entry.bytes().size(), 40))
                        .toStringUtf8())
                .toList();
    }

    synchronized List<Entry> entries() {
        return List.copyOf(entries);
    }

    @Override
    public Mark applied() {
        return at();
    }

    @Override
    public ByteString admit(ByteString proposed) throws AgreementException {
        String why = refusal;
        if (why != null) {
            throw new AgreementException(AgreementException.Code.REFUSED, why);
        }
        return admit.apply(proposed);
    }

    @Override
    public CompletableFuture<Void> prepare(ByteString entry) {
        return prepare.apply(entry);
    }

    @Override
    @SuppressWarnings("NonAtomicVolatileUpdate") // one thread applies
    public synchronized void apply(Mark mark, ByteString entry) {
        if (poison != null && entry.toStringUtf8().equals(poison)) {
            applications++;
            throw new IllegalStateException("poison");
        }
        Mark before = at();
        if (mark.index() != before.index() + 1 || mark.term() < before.term()) {
            throw new IllegalStateException(mark + " after " + before);
        }
        applications++;
        entries.add(new Entry(mark, entry));
        onApply.accept(entry);
    }

    @Override
    @SuppressWarnings("NonAtomicVolatileUpdate") // one thread syncs
    public Mark sync() {
        syncs++;
        return at();
    }

    @Override
    @SuppressWarnings("NonAtomicVolatileUpdate") // one at a time
    public CompletableFuture<Mark> catchUp(PrincipalId leader) {
        catchUps++;
        return source.apply(leader).thenApply(from -> {
            List<Entry> theirs = from.entries();
            synchronized (this) {
                entries.clear();
                entries.addAll(theirs);
                return at();
            }
        });
    }
}
