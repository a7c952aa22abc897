package blocktree.cluster;

import blocktree.tree.FileLocks;
import blocktree.tree.FileSystemException;
import blocktree.tree.LockPort;
import blocktree.tree.LockQuestion;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import org.jspecify.annotations.Nullable;

/** As in the daemon: between the locks of a node's programs and its leases. */
final class SharedTable implements LockTable {
    private final FileLocks locks;

    private SharedTable(FileLocks locks) {
        this.locks = locks;
    }

    /** The locks of a node's programs, which are kept out of the way of other nodes'. */
    static FileLocks connect(LockLeases leases) {
        FileLocks locks = new FileLocks();
        leases.serve(new SharedTable(locks));
        locks.share(new LockPort() {
            @Override
            public boolean isValid() {
                return leases.isValid();
            }

            @Override
            public void ask(LockQuestion question) {
                leases.ask(new Request(question));
            }
        });
        return locks;
    }

    private record Request(LockQuestion question) implements LockRequest {
        @Override
        public LockRange range() {
            return new LockRange(
                    question.inode(), of(question.kind()), question.start(), question.end(), question.exclusive());
        }

        @Override
        public Aim aim() {
            return switch (question.aim()) {
                case WAIT -> Aim.WAIT;
                case TRY -> Aim.TRY;
                case TEST -> Aim.TEST;
            };
        }

        @Override
        public boolean isOver() {
            return question.isOver();
        }

        @Override
        public void onOver(Runnable action) {
            question.onOver(action);
        }

        @Override
        public void begin() {
            question.begin();
        }

        @Override
        public boolean given(@Nullable LockRange range, CompletionStage<?> fresh) {
            return range == null
                    ? question.givenEverything(fresh)
                    : question.given(range.start(), range.end(), range.exclusive(), fresh);
        }

        @Override
        public void denied(@Nullable LockRange range) {
            question.denied(
                    range == null ? null : FileLocks.Lock.elsewhere(range.start(), range.end(), range.exclusive()));
        }

        @Override
        public void failed(Failure failure) {
            question.failed(
                    switch (failure) {
                        case TOO_MANY ->
                            new FileSystemException(
                                    FileSystemException.Code.TOO_MANY_LOCKS, "the leader has no room for more");
                        case TIMED_OUT ->
                            new FileSystemException(
                                    FileSystemException.Code.TIMED_OUT, "no other node says whether it is free");
                    });
        }
    }

    private static LockRange.Kind of(FileLocks.Kind kind) {
        return switch (kind) {
            case RECORD -> LockRange.Kind.RECORD;
            case FLOCK -> LockRange.Kind.FLOCK;
        };
    }

    private static FileLocks.Kind of(LockRange.Kind kind) {
        return switch (kind) {
            case RECORD -> FileLocks.Kind.RECORD;
            case FLOCK -> FileLocks.Kind.FLOCK;
        };
    }

    private static LockRange range(FileLocks.HeldLock held) {
        FileLocks.Lock lock = held.lock();
        return new LockRange(held.inode(), of(held.kind()), lock.start(), lock.end(), lock.exclusive());
    }

    @Override
    public CompletableFuture<@Nullable LockRange> lend(LockRange range, boolean waits) {
        CompletableFuture<FileLocks.@Nullable Lock> lent =
                locks.lend(range.file(), of(range.kind()), range.start(), range.end(), range.exclusive(), waits);
        CompletableFuture<@Nullable LockRange> result = lent.thenApply(inTheWay -> of(range, inTheWay));
        var unused = result.whenComplete((inTheWay, failure) -> lent.cancel(false));
        return result;
    }

    private static @Nullable LockRange of(LockRange asked, FileLocks.@Nullable Lock lock) {
        return lock == null
                ? null
                : new LockRange(asked.file(), asked.kind(), lock.start(), lock.end(), lock.exclusive());
    }

    @Override
    public @Nullable LockRange inTheWay(LockRange range) {
        return of(range, locks.inTheWay(range.file(), of(range.kind()), range.start(), range.end(), range.exclusive()));
    }

    @Override
    public List<LockRange> retreat() {
        return locks.retreat().stream().map(SharedTable::range).toList();
    }

    @Override
    public boolean lose() {
        return locks.lose();
    }

    @Override
    public boolean isIdle() {
        return locks.isIdle();
    }

    @Override
    public boolean isCrowded() {
        return locks.isCrowded();
    }

    @Override
    public List<HeldLock> held() {
        return locks.held().stream()
                .map(held ->
                        new HeldLock(range(held), held.lock().pid(), held.lock().sinceMillis()))
                .toList();
    }
}
