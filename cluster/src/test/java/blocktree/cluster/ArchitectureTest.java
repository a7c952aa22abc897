package blocktree.cluster;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackages;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The cluster knows stores and messages, no file system, and nothing but its package for agreement knows the engine. */
@AnalyzeClasses(packages = "blocktree.cluster", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {

    @ArchTest
    static final ArchRule usesOnlyTheModulesBelow = noClasses()
            .should()
            .dependOnClassesThat(resideInAPackage("blocktree..")
                    .and(resideOutsideOfPackages(
                            "blocktree.cluster..",
                            "blocktree.btmsg.session..",
                            "blocktree.store..",
                            "blocktree.crypto..")))
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule knowsNoConnectionDatabaseOrMount = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("io.netty..", "org.rocksdb..", "jnr..", "ru.serce..")
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule theEngineStaysInItsPackage = noClasses()
            .that()
            .resideOutsideOfPackage("blocktree.cluster.raft..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("org.apache.ratis..")
            .allowEmptyShould(true);
}
