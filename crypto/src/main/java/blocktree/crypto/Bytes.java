package blocktree.crypto;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** Big-endian integers in byte arrays, as docs/format.md writes them. */
final class Bytes {

    private static final VarHandle U32 = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.BIG_ENDIAN);
    private static final VarHandle U64 = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.BIG_ENDIAN);

    private Bytes() {}

    static int getU32(byte[] source, int offset) {
        return (int) U32.get(source, offset);
    }

    static long getU64(byte[] source, int offset) {
        return (long) U64.get(source, offset);
    }

    static void putU32(byte[] target, int offset, int value) {
        U32.set(target, offset, value);
    }

    static void putU64(byte[] target, int offset, long value) {
        U64.set(target, offset, value);
    }

    static byte[] u32(int value) {
        byte[] bytes = new byte[4];
        putU32(bytes, 0, value);
        return bytes;
    }
}
