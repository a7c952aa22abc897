package blocktree.fuse;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackages;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The mount knows the file system it shows and nothing of how that is stored. */
@AnalyzeClasses(packages = "blocktree.fuse", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {

    @ArchTest
    static final ArchRule usesOnlyBlockTree = noClasses()
            .should()
            .dependOnClassesThat(resideInAPackage("blocktree..")
                    .and(resideOutsideOfPackages("blocktree.fuse..", "blocktree.tree..")))
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule knowsNoNetworkStoreOrCryptography = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("io.netty..", "org.rocksdb..", "org.bouncycastle..")
            .allowEmptyShould(true);
}
