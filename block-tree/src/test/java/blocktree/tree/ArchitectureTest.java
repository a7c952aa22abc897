package blocktree.tree;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackages;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The file system knows no network, no binding to the kernel and no store but through block-store. */
@AnalyzeClasses(packages = "blocktree.tree", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {

    @ArchTest
    static final ArchRule usesOnlyTheModulesBelow = noClasses()
            .should()
            .dependOnClassesThat(resideInAPackage("blocktree..")
                    .and(resideOutsideOfPackages("blocktree.tree..", "blocktree.store..", "blocktree.crypto..")))
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule knowsNoNetworkStoreOrMount = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("io.netty..", "org.rocksdb..", "jnr..", "ru.serce..")
            .allowEmptyShould(true);
}
