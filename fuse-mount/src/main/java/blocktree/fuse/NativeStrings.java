package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import java.nio.charset.StandardCharsets;

/** Strings as C functions take them: UTF-8, each with a NUL behind it, and an array of their addresses that ends with a null. */
final class NativeStrings implements AutoCloseable {
    private final int count;
    private final long addresses;

    NativeStrings(String... strings) {
        count = strings.length;
        addresses = MEMORY.allocateMemory(Long.BYTES * (count + 1L), true);
        for (int i = 0; i < count; i++) {
            byte[] bytes = strings[i].getBytes(StandardCharsets.UTF_8);
            long address = MEMORY.allocateMemory(bytes.length + 1L, true);
            MEMORY.putByteArray(address, bytes, 0, bytes.length);
            MEMORY.putLong(addresses + (long) Long.BYTES * i, address);
        }
    }

    int count() {
        return count;
    }

    /** Of the array. */
    long addresses() {
        return addresses;
    }

    long address(int index) {
        return MEMORY.getLong(addresses + (long) Long.BYTES * index);
    }

    @Override
    public void close() {
        for (int i = 0; i < count; i++) {
            MEMORY.freeMemory(address(i));
        }
        MEMORY.freeMemory(addresses);
    }
}
