package blocktree.tree;

import java.util.List;

/**
 * What a mount shows of a tree.
 *
 * @param readOnly refuses every change
 * @param showSnapshots lists {@code .snapshots} in the root; it can be looked up in any case, where the view begins at the tree's root
 * @param subtree the path of the directory that is the view's root; empty for the whole tree
 */
public record ViewOptions(boolean readOnly, boolean showSnapshots, List<Name> subtree) {
    public ViewOptions {
        subtree = List.copyOf(subtree);
    }

    public static ViewOptions defaults() {
        return new ViewOptions(false, false, List.of());
    }

    public ViewOptions withReadOnly(boolean value) {
        return new ViewOptions(value, showSnapshots, subtree);
    }

    public ViewOptions withShowSnapshots(boolean value) {
        return new ViewOptions(readOnly, value, subtree);
    }

    public ViewOptions withSubtree(List<Name> path) {
        return new ViewOptions(readOnly, showSnapshots, path);
    }
}
