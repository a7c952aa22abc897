package blocktree.fuse;

import blocktree.tree.FileSystem;
import blocktree.tree.MemoryFileSystem;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;

/** A file system in memory whose methods can be made to wait or to fail first, or to return something else. */
final class FaultyFileSystem {
    private final MemoryFileSystem memory = new MemoryFileSystem();
    private final Map<String, Callable<?>> faults = new ConcurrentHashMap<>();
    private final Map<String, Callable<?>> replacements = new ConcurrentHashMap<>();

    FileSystem fileSystem() {
        return (FileSystem) Proxy.newProxyInstance(
                FileSystem.class.getClassLoader(), new Class<?>[] {FileSystem.class}, (proxy, method, arguments) -> {
                    Callable<?> fault = faults.get(method.getName());
                    if (fault != null) {
                        fault.call();
                    }
                    Callable<?> replacement = replacements.get(method.getName());
                    if (replacement != null) {
                        return replacement.call();
                    }
                    try {
                        return method.invoke(memory, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }

    /** Runs {@code fault} at the start of each call of {@code method}. */
    void before(String method, Callable<?> fault) {
        faults.put(method, fault);
    }

    /** Runs {@code replacement} in the place of {@code method}. */
    void replace(String method, Callable<?> replacement) {
        replacements.put(method, replacement);
    }

    void heal() {
        faults.clear();
        replacements.clear();
    }
}
