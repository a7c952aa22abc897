package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;

import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class BufferPoolTest {
    private final AtomicLong used = new AtomicLong();
    private final BufferPool pool = new BufferPool(64 << 10, used::get);

    @Test
    void arraysAreUsedAgain() {
        byte[] buffer = pool.take(14);
        pool.give(buffer);
        assertEquals(buffer.length, pool.heldBytes());
        assertSame(buffer, pool.take(14));
        assertEquals(0, pool.heldBytes());
    }

    @Test
    void keepsNoMoreThanTheCachesLeave() {
        used.set(60 << 10);
        pool.give(new byte[4096]);
        pool.give(new byte[4096]);
        assertEquals(4096, pool.heldBytes());
    }

    @Test
    void otherSizesMakeRoom() {
        byte[] large = new byte[16 << 10];
        for (int i = 0; i < 4; i++) {
            pool.give(i == 0 ? large : new byte[16 << 10]);
        }
        assertEquals(64 << 10, pool.heldBytes());
        assertNotSame(large, pool.take(12));
        assertEquals(48 << 10, pool.heldBytes());
    }
}
