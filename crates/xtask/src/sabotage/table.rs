//! Which test must fail when which defence is out.
//!
//! Every switch in code that talks to servers has a row. Of the others, those have one that a test against real servers
//! can miss as well; the audits miss all of them. Why a defence that no such test misses still stands, and what stands
//! behind it, is said in docs/races.md.

use super::switches::Sabotage::{self, *};

/// A test and the program that it is in.
#[derive(Debug)]
pub(super) struct Test {
    /// The package and the target.
    pub(super) program: &'static str,
    /// As the test program lists it.
    pub(super) name: &'static str,
}

/// Against real servers, through the whole cache.
const fn cache(name: &'static str) -> Test {
    Test { program: "candor-postgres main", name }
}

/// Of the crate for PostgreSQL alone.
const fn unit(name: &'static str) -> Test {
    Test { program: "candor-postgres candor_postgres", name }
}

/// Of the engine, over logs in memory.
const fn engine(name: &'static str) -> Test {
    Test { program: "candor main", name }
}

/// Of the core alone.
const fn core(name: &'static str) -> Test {
    Test { program: "candor-core candor_core", name }
}

/// Through the doors.
const fn door(name: &'static str) -> Test {
    Test { program: "candor-server main", name }
}

/// Of the doors alone.
const fn door_unit(name: &'static str) -> Test {
    Test { program: "candor-server candor_server", name }
}

/// The defences, and for each the tests of which every one must fail.
pub(super) const TABLE: &[(Sabotage, &[Test])] = &[
    (
        FenceBeforeGap,
        &[
            cache(
                "main::publications::a_stream_that_was_begun_anew_vouches_for_nobody_who_has_not_met_its_gap",
            ),
            engine(
                "vouched::a_fence_of_a_stream_that_was_begun_anew_proves_nothing_before_the_gap_is_heard_of",
            ),
            core("ledger::tests::a_fence_from_behind_a_gap_says_nothing_before_the_gap_is_met"),
        ],
    ),
    (
        PoolersIsolation,
        &[unit("fill::tests::bounced::a_pooler_is_found_out_and_fills_bring_their_settings_along")],
    ),
    // What names mean, and to whom.
    (
        PathOfSession,
        &[cache("main::names::what_another_program_leaves_in_a_session_of_the_pooler_changes_no_name")],
    ),
    (
        PathLeft,
        &[
            cache("main::names::what_another_program_leaves_in_a_session_of_the_pooler_changes_no_name"),
            cache(
                "main::names::a_role_whose_path_changes_reads_what_the_view_was_made_for_until_that_is_made_anew",
            ),
        ],
    ),
    (
        NamesOfCompiler,
        &[
            cache("main::names::names_mean_what_they_mean_to_the_role_that_fills"),
            cache("main::names::a_schema_that_only_the_role_that_fills_may_use_is_refused_with_the_mend"),
        ],
    ),
    (
        MeaningForgotten,
        &[cache("main::names::a_table_that_comes_to_stand_before_another_is_read_by_all_or_by_nobody")],
    ),
    (
        NamesBelieved,
        &[cache("main::names::a_table_that_comes_to_stand_before_another_is_read_by_all_or_by_nobody")],
    ),
    (
        UnevenBelieved,
        &[cache(
            "main::rows::partitions_that_are_stored_under_another_identity_than_their_root_says_are_not_misread",
        )],
    ),
    (
        ViewsOfLater,
        &[cache(
            "main::beginnings::a_view_that_is_prepared_after_the_log_was_followed_misses_nothing_told_before",
        )],
    ),
    (
        FormerLogForgotten,
        &[engine(
            "vouched::a_token_of_a_log_that_this_source_has_lost_is_refused_though_another_source_knows_it",
        )],
    ),
    (
        SnapshotMoment,
        &[engine("vouched::a_snapshot_below_the_watermark_reflects_no_moment_at_which_it_was_outdated")],
    ),
    (
        WatermarkVouches,
        &[
            cache("main::publications::a_session_is_not_answered_by_what_a_log_that_fell_silent_has_passed"),
            cache("main::publications::a_receipt_cites_no_position_that_a_log_which_fell_silent_has_passed"),
            cache("main::publications::a_snapshot_is_not_taken_at_what_a_log_that_fell_silent_has_passed"),
        ],
    ),
    (SlotTooEarly, &[cache("main::invisible::a_transaction_whose_telling_was_cut_off_is_told_again")]),
    (
        KeyChangeNewOnly,
        &[
            cache("main::races::a_row_that_moves_leaves_one_list_and_joins_another"),
            cache("main::rows::rows_that_move_and_die_are_noticed_under_every_replica_identity"),
            cache("main::rows::what_a_foreign_key_does_to_the_rows_that_refer_to_another_is_told"),
        ],
    ),
    (SubjectFromRequest, &[door("auth::nobody_reaches_the_entry_of_another_subject")]),
    (
        CertainOfDecoded,
        &[cache("main::races::a_commit_in_the_log_that_is_not_visible_yet_is_not_answered_over")],
    ),
    (
        SlotBelieved,
        &[cache("main::invisible::a_slot_that_somebody_moved_on_leaves_open_what_is_not_visible_yet")],
    ),
    (
        OneLogForAll,
        &[
            cache(
                "main::restarts::a_transaction_that_got_the_number_of_one_that_a_crash_took_back_is_another_one",
            ),
            cache("main::restarts::a_crash_that_loses_a_commit_that_was_seen_begins_a_new_log"),
            cache("main::slots::a_server_that_restarts_begins_a_new_log_and_what_happened_meanwhile_is_seen"),
            cache("main::failover::a_promoted_standby_is_another_log_and_what_it_never_had_is_forgotten"),
        ],
    ),
    (
        RecoveryForgotten,
        &[cache(
            "main::restarts::a_killed_backend_makes_the_server_recover_and_begins_a_new_log_without_a_restart",
        )],
    ),
    (
        UnsettledForgotten,
        &[
            cache("main::beginnings::what_was_written_before_its_table_was_published_is_not_missed"),
            cache(
                "main::invisible::an_instance_that_begins_while_a_commit_is_not_visible_yet_leaves_it_open",
            ),
        ],
    ),
    (
        WritersBelowForgotten,
        &[cache("main::beginnings::a_writer_to_a_partition_counts_though_only_its_root_is_published")],
    ),
    (TruncateIgnored, &[cache("main::races::truncate_and_huge_transactions_stand_for_the_whole_table")]),
    (HugeForgotten, &[cache("main::races::truncate_and_huge_transactions_stand_for_the_whole_table")]),
    (UnnamedForgotten, &[unit("facets::tests::an_old_key_that_is_not_in_the_log_stands_for_any_row")]),
    (
        UnchangedForgotten,
        &[cache("main::rows::a_key_that_is_stored_elsewhere_and_not_sent_again_still_names_its_row")],
    ),
    (
        FingerprintAtFence,
        &[
            cache("main::races::a_schema_change_that_rewrites_values_ends_what_was_proven_before"),
            cache("main::races::a_table_taken_out_of_the_publication_is_noticed_by_the_next_fence"),
            cache("main::schema::a_table_that_gets_an_heir_has_its_rows_too"),
            cache("main::schema::two_schemas_that_change_names_change_every_answer"),
        ],
    ),
    (
        FingerprintOfAnySnapshot,
        &[cache("main::races::a_table_taken_out_of_the_publication_is_noticed_by_the_next_fence")],
    ),
    (
        FingerprintGoingOn,
        &[cache(
            "main::invisible::what_was_written_while_its_table_was_out_of_the_log_for_a_moment_is_left_open",
        )],
    ),
    (
        FingerprintOfLooks,
        &[
            unit("derive::tests::shapes::the_fingerprint_follows_what_the_log_covers_and_nothing_else"),
            cache(
                "main::schema::a_table_that_another_publication_lets_go_to_be_unlogged_for_a_moment_was_changed",
            ),
            cache("main::rows::a_partition_that_is_emptied_is_noticed_whoever_else_publishes_it"),
            cache("main::schema::a_table_that_is_unlogged_for_the_length_of_one_transaction_was_changed"),
            cache(
                "main::schema::a_schema_that_leaves_the_publication_for_the_length_of_one_transaction_was_changed",
            ),
            cache(
                "main::schema::a_table_that_leaves_a_published_schema_for_the_length_of_one_transaction_was_changed",
            ),
            cache("main::schema::a_partition_that_is_detached_for_the_length_of_one_transaction_was_changed"),
            cache("main::schema::a_partition_that_is_being_detached_concurrently_is_gone_at_once"),
        ],
    ),
    (
        FingerprintOfTables,
        &[
            unit("derive::tests::shapes::the_fingerprint_follows_what_the_log_covers_and_nothing_else"),
            cache(
                "main::schema::a_part_of_a_composite_type_that_is_renamed_changes_the_answers_that_show_it",
            ),
            cache("main::schema::a_stored_view_that_is_replaced_changes_the_answers_read_through_it"),
            cache("main::schema::two_stored_views_that_change_names_change_the_answers_read_through_them"),
            cache(
                "main::schema::columns_of_a_stored_view_that_change_names_change_the_answers_read_through_it",
            ),
            cache("main::schema::words_that_are_looked_for_in_another_way_are_looked_for_again"),
            cache("main::schema::an_operator_that_is_made_anew_changes_the_answers_computed_with_it"),
            cache("main::schema::a_function_that_is_replaced_changes_the_answers_computed_with_it"),
            cache("main::schema::a_value_of_an_enumeration_that_is_renamed_changes_the_answers_that_show_it"),
        ],
    ),
    (
        TablesByName,
        &[cache("main::schema::a_table_is_known_by_its_number_whatever_the_stream_called_it_last")],
    ),
    (GapIsPosition, &[unit("log::reached::tests::the_server_never_hears_the_number_of_a_gap")]),
    (
        DoubtForgotten,
        &[
            cache(
                "main::publications::a_session_is_not_answered_by_what_was_there_before_a_view_was_replaced",
            ),
            cache("main::publications::a_snapshot_is_not_taken_across_the_emptying_of_a_partition"),
        ],
    ),
    (
        TwoPhaseFollowed,
        &[cache(
            "main::beginnings::a_slot_that_tells_of_transactions_before_they_commit_is_refused_with_the_mend",
        )],
    ),
    (StandbyAnswers, &[cache("main::failover::a_standbys_answer_is_refused_where_the_log_is_the_proof")]),
    (StandbyBehind, &[cache("main::standbys::a_standby_that_is_behind_or_away_sends_fills_to_the_primary")]),
    (
        StandbyAhead,
        &[cache(
            "main::standbys::a_commit_that_is_on_the_standby_and_not_visible_at_the_primary_is_not_shown",
        )],
    ),
    (
        StandbyTimeline,
        &[cache("main::standbys::whoever_follows_a_promoted_standby_does_not_answer_for_the_old_primary")],
    ),
    (
        StandbyMark,
        &[cache(
            "main::standbys::two_standbys_promoted_apart_are_told_apart_though_both_call_their_timeline_the_same",
        )],
    ),
    (
        StandbySchema,
        &[cache(
            "main::standbys::a_change_of_the_schema_that_the_primary_does_not_show_yet_is_not_answered_by",
        )],
    ),
    (
        PublicationPending,
        &[cache(
            "main::publications::a_publication_that_changes_in_the_log_before_anybody_sees_it_proves_nothing",
        )],
    ),
    (FenceOfAnyServer, &[cache("main::failover::a_fence_of_another_server_proves_nothing_about_this_log")]),
    (
        StreamOfAnyServer,
        &[cache("main::failover::a_stream_of_another_server_is_not_the_log_of_the_one_that_is_asked")],
    ),
    (FlushedPosition, &[cache("main::fences::strong_reads_show_every_way_of_ending_a_transaction")]),
    (
        VisibleIsInsert,
        &[cache("main::fences::what_another_transaction_has_begun_to_write_is_not_waited_for")],
    ),
    (
        LogNotPushed,
        &[cache("main::restarts::asynchronous_commits_and_an_idle_log_are_waited_for_in_milliseconds")],
    ),
    (
        NamesBehindPooler,
        &[cache("main::poolers::fences_beginnings_and_checks_name_no_statement_behind_a_pooler")],
    ),
    (
        NoWrap,
        &[
            cache("main::wrap::the_cache_works_on_while_transaction_ids_wrap_around"),
            core("stamp::tests::ids_compare_on_the_ring_when_the_low_half_wraps"),
            unit("visibility::tests::ids_are_compared_across_the_wrap"),
        ],
    ),
    (UnloggedAllowed, &[unit("derive::tests::refusals::what_cannot_be_kept_is_refused_with_a_mend")]),
    (VolatileAllowed, &[cache("main::views::a_view_that_cannot_be_proven_is_refused_with_the_mend")]),
    (RowSecurityAllowed, &[unit("derive::tests::refusals::what_cannot_be_kept_is_refused_with_a_mend")]),
    (
        NamesFromElsewhereAllowed,
        &[unit("derive::tests::refusals::what_cannot_be_kept_is_refused_with_a_mend")],
    ),
    (PartialAllowed, &[unit("derive::tests::refusals::a_log_that_leaves_something_out_is_refused")]),
    // The audit of served answers, at the doors.
    (
        AuditAllAlike,
        &[
            door_unit(
                "audit::judge::tests::an_answer_that_neither_look_saw_is_false_unless_the_log_tells_of_a_way_there_and_back",
            ),
            door(
                "audit::a_wrong_dependency_is_an_incident_with_the_life_of_an_entry_that_the_ledger_calls_current",
            ),
        ],
    ),
    (
        AuditWithoutBound,
        &[door_unit("audit::tap::tests::an_answer_claims_the_moment_that_its_bound_counts_back_to")],
    ),
    (
        AuditWithoutLife,
        &[door(
            "audit::a_wrong_dependency_is_an_incident_with_the_life_of_an_entry_that_the_ledger_calls_current",
        )],
    ),
    (
        AuditSilent,
        &[door("audit::a_change_the_log_tells_nothing_of_is_an_incident_before_anybody_is_told_a_lie")],
    ),
    (
        AuditTellsAll,
        &[door(
            "audit::of_a_private_view_nothing_is_told_but_hashes_and_nobody_without_the_right_is_told_anything",
        )],
    ),
    (
        AuditReads,
        &[door(
            "audit::without_a_campaign_the_audit_changes_nothing_that_doors_serve_and_never_wakes_an_idle_source",
        )],
    ),
    // What the audits miss, too.
    (
        VisibilityRule,
        &[cache("main::races::a_commit_in_the_log_that_is_not_visible_yet_is_not_answered_over")],
    ),
    (JudgeAlwaysCurrent, &[cache("main::races::a_change_by_psql_ends_what_is_kept_and_nothing_else")]),
    (AbsentUntagged, &[cache("main::races::a_row_that_was_not_there_appears_alone_and_in_its_list")]),
    (HorizonCheck, &[cache("main::restarts::a_slot_dropped_and_made_anew_behind_our_back_is_a_gap")]),
    (
        MomentAfterFence,
        &[cache("main::silence::bounds_count_from_the_question_however_late_its_answer_comes")],
    ),
    (
        MomentAfterFill,
        &[cache("main::silence::bounds_count_from_the_question_however_late_its_answer_comes")],
    ),
    (
        ProofUnreached,
        &[
            cache("main::silence::a_frozen_walsender_sends_readers_to_the_source_and_proves_nothing"),
            cache("main::fences::two_instances_need_not_agree_on_how_far_is_enough"),
        ],
    ),
    (
        ShownUnknown,
        &[
            cache("main::silence::a_frozen_walsender_sends_readers_to_the_source_and_proves_nothing"),
            cache("main::fences::two_instances_need_not_agree_on_how_far_is_enough"),
        ],
    ),
    (
        TokenOfUnknownLog,
        &[cache("main::restarts::a_crash_that_loses_a_commit_that_was_seen_begins_a_new_log")],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_in_code_that_talks_to_servers_has_a_row_and_every_row_a_test() {
        for (name, sabotage) in Sabotage::AT_SERVERS {
            assert!(TABLE.iter().any(|(row, _)| *row == sabotage), "no test for `{name}`");
        }
        assert!(TABLE.iter().all(|(_, tests)| !tests.is_empty()));
        let names: Vec<&str> = Sabotage::named().map(|(name, _)| name).collect();
        assert!(
            names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1),
            "{names:?}"
        );
    }
}
