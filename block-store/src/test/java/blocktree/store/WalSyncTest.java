package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class WalSyncTest {

    @Test
    void callersThatWaitTogetherShareOneSync() throws Exception {
        CountDownLatch firstIsSyncing = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        AtomicInteger syncs = new AtomicInteger();
        WalSync wal = new WalSync(() -> {
            syncs.incrementAndGet();
            firstIsSyncing.countDown();
            try {
                goOn.await();
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        });
        List<Thread> callers = new ArrayList<>();
        callers.add(awaiting(wal, wal.ticket()));
        firstIsSyncing.await();
        for (int i = 0; i < 20; i++) {
            callers.add(awaiting(wal, wal.ticket()));
        }
        goOn.countDown();
        for (Thread caller : callers) {
            caller.join();
        }
        assertEquals(
                2,
                syncs.get(),
                "the sync under way does not cover what was written after it began; one more covers all");
        wal.await(wal.newestTicket());
        assertEquals(2, syncs.get(), "nothing new, nothing to sync");
    }

    private static Thread awaiting(WalSync wal, long ticket) {
        Thread thread = new Thread(() -> {
            try {
                wal.await(ticket);
            } catch (StoreException e) {
                throw new AssertionError(e);
            }
        });
        thread.start();
        return thread;
    }

    @Test
    void failedSyncAcknowledgesNobody() throws StoreException {
        AtomicInteger calls = new AtomicInteger();
        WalSync wal = new WalSync(() -> {
            if (calls.incrementAndGet() <= 2) {
                throw new StoreException(StoreException.Code.IO, "broken");
            }
        });
        long ticket = wal.ticket();
        assertThrows(StoreException.class, () -> wal.await(ticket));
        assertThrows(StoreException.class, () -> wal.await(ticket));
        assertEquals(0, wal.count());
        wal.await(ticket);
        assertTrue(wal.count() == 1);
    }
}
